"""The known operators as a page."""

from typing import Any

from canvas_rl import zoo
from canvas_rl.drawing import to_svg
from canvas_rl.ir import KernelGraph, static_cost
from canvas_rl.kernels.sampling import DEFAULT_SITES
from canvas_rl.report.details import drawn
from canvas_rl.report.packing import packed_blocks, packed_json
from canvas_rl.report.rendering import render
from canvas_rl.symbolic.site import ReferenceConv, Site


def gallery_page() -> str:
    """One self-contained page of HTML about the zoo: drawings, sources, programs and costs at a ResNet's sites."""
    operators = [_operator(name) for name in zoo.names()]
    shown = [{name: item[name] for name in ("name", "title", "description", "reference")} for item in operators]
    details = [{"variants": item["variants"], "needs": item["needs"]} for item in operators]
    return render(
        "gallery.html",
        title="Known operators",
        operators=operators,
        model=packed_json({"operators": shown, "block": len(details)}),
        blocks=packed_blocks(details),
    )


def _operator(name: str) -> dict[str, Any]:
    known = zoo.operator(name)
    dims = sorted(known.dims, reverse=True)
    graphs = [zoo.load(name, _places(count)) for count in dims]
    return {
        "name": name,
        "title": name.replace("_", " "),
        "description": known.description,
        "reference": known.reference,
        "dims": dims,
        "count": known.primitive_count(dims[0]),
        "svg": to_svg(graphs[0]),
        "needs": [f"{option}={value}" for option, value in known.needs.items()],
        "variants": [
            {"label": f"{count}-D", **drawn(graph), "program": " ".join(known.program(count)), "costs": _costs(graph)}
            for count, graph in zip(dims, graphs, strict=True)
        ],
    }


def _places(spatial_dims: int) -> tuple[Site, ...]:
    """The sites of a ResNet, with as many of their spatial dims."""
    return tuple(Site(*site.shape[: 1 + spatial_dims]) for site in DEFAULT_SITES)


def _costs(graph: KernelGraph) -> list[list[Any]]:
    """Site, FLOPs, those of a 3x3 convolution, parameters, those of the convolution."""
    found, convolution = [], ReferenceConv()
    for site in graph.sites:
        cost = static_cost(graph, site)
        costs = [cost.flops, convolution.flops(site), cost.params, convolution.params(site)]
        found.append([str(site), *costs])
    return found
