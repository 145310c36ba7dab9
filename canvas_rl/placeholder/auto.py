"""Place placeholders where a network, written by others, has convolutions that a kernel can replace."""

import logging
from collections.abc import Sequence

from torch import nn

from canvas_rl.errors import PlaceholderError
from canvas_rl.placeholder.convolutions import Candidate, CandidateRules, find_candidates
from canvas_rl.placeholder.discovery import get_placeholders, record_sites
from canvas_rl.placeholder.dry_run import ExampleInput
from canvas_rl.placeholder.report import Placement, PlacementReport
from canvas_rl.symbolic.site import check_sites

logger = logging.getLogger(__name__)


def auto_place(
    model: nn.Module, example_input: ExampleInput, min_kernel_size: int = 2, spatial_dims: int | None = None
) -> PlacementReport:
    """Put a placeholder in the place of every convolution that a kernel can replace.

    Taken are `Conv1d` and `Conv2d` with stride 1 whose output has the shape of their input. A convolution that is
    shared, or called several times, becomes one placeholder. The example runs in evaluation mode and leaves modes,
    buffers, gradients and random generators as they were; it runs again afterwards, and what the network can't do
    without (it reads the weight, say) is put back. Placeholders that the network already has stay.

    Args:
        model: any network, changed in place. On an error it is as before.
        example_input: one tensor, a tuple of the model's arguments, or a dict of them by name.
        min_kernel_size: smallest window taken; the default leaves pointwise convolutions, 1 takes them too.
        spatial_dims: take only convolutions of 1 or of 2 spatial dims; None takes both kinds and refuses a mix.

    Returns:
        What was done with each convolution, and why.

    Raises:
        PlaceholderError: nothing can be placed and the network has no placeholder, the kinds are mixed, or the
            example can't run.
    """
    present = get_placeholders(model, example_input, check_shapes=True)
    candidates = find_candidates(model, example_input, CandidateRules(min_kernel_size, spatial_dims))
    taken = [candidate for candidate in candidates if candidate.site is not None]
    if taken:
        check_sites(tuple(site for site in (*(p.site for p in present), *(c.site for c in taken)) if site is not None))
    problems = _swap_working(model, taken, example_input)
    report = PlacementReport(tuple(_placement(candidate, problems.get(candidate)) for candidate in candidates))
    get_placeholders(model)
    if not report.taken and not present:
        raise PlaceholderError(_nothing_to_place(report))
    logger.info("%s", report)
    return report


def _swap_working(
    model: nn.Module, candidates: Sequence[Candidate], example_input: ExampleInput
) -> dict[Candidate, str]:
    """Swap all candidates that the network works without; the others with the reason why not."""
    if _problem(model, candidates, candidates, example_input) is None:
        return {}
    for candidate in candidates:
        candidate.swap_back(model)
    problems: dict[Candidate, str] = {}
    placed: list[Candidate] = []
    for candidate in candidates:
        problem = _problem(model, [candidate], [*placed, candidate], example_input)
        if problem is None:
            placed.append(candidate)
        else:
            candidate.swap_back(model)
            problems[candidate] = problem
    record_sites(model, get_placeholders(model), example_input)
    return problems


def _problem(
    model: nn.Module, new: Sequence[Candidate], placed: Sequence[Candidate], example_input: ExampleInput
) -> str | None:
    """Swap the new candidates and run the example: what goes wrong, None if nothing does."""
    for candidate in new:
        candidate.swap(model)
    try:
        record_sites(model, get_placeholders(model), example_input)
    except PlaceholderError as error:
        return f"the model needs it to be a convolution ({error.__cause__ or error})"
    if any(not candidate.placeholder.initialized for candidate in placed):
        return "the model calls it by a reference that is not an attribute of a module"
    return None


def _placement(candidate: Candidate, problem: str | None) -> Placement:
    taken = candidate.site is not None and problem is None
    reason = problem or candidate.reason
    site, reference = (candidate.site, candidate.placeholder.reference) if taken else (None, None)
    return Placement(candidate.names, str(candidate.convolution), taken, reason, site, reference)


def _nothing_to_place(report: PlacementReport) -> str:
    if not report.placements:
        found = "no convolution module"
    else:
        first = report.placements[0]
        found = (
            f"none of its {len(report.placements)} convolutions can be replaced ({first.names[0]!r}: {first.reason})"
        )
    return f"the model has no placeholder and {found}: put canvas_rl.Placeholder() where a kernel shall be"
