"""A primitive of your own: it reverses a tensor along a dim.

    python examples/own_primitive.py

`register` adds it to the kernel language of this process. Here a random search plays in memory, on the analytic
estimate, which takes a moment; `docs/howto/primitive.md` says what each part of a primitive is for, and how one goes
into canvas_rl itself.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch

from agents.random_search import RandomAgent, RandomConfig
from canvas_rl.codegen import build_module, generate_source
from canvas_rl.drawing import to_text
from canvas_rl.evaluation.analytic import AnalyticEvaluator
from canvas_rl.primitives import register
from canvas_rl.primitives.base import Family, FamilyContext, Primitive, Template, Typed, json_dim
from canvas_rl.primitives.emission import Scope
from canvas_rl.primitives.receptive import Field
from canvas_rl.primitives.reference import Array, Calculation
from canvas_rl.primitives.selection import SINGLE_DIMS, check_present
from canvas_rl.rewards import make_reward
from canvas_rl.session import SearchOver
from canvas_rl.space import SearchSpace
from canvas_rl.study.archive import Entry
from canvas_rl.study.keeping import Nowhere
from canvas_rl.study.session import Parts, SearchSession
from canvas_rl.study.settings import default_space
from canvas_rl.study.stopping import Stopper
from canvas_rl.symbolic.constraints import Constraint
from canvas_rl.symbolic.shape import Dim, Shape
from canvas_rl.symbolic.site import Site
from canvas_rl.symbolic.size import Size


@dataclass(frozen=True)
class Flip(Primitive):
    """Reverse the order of the elements along `dim`, which must have at least two at every site."""

    dim: Dim

    family = "Flip"

    def infer(self, inputs: tuple[Shape, ...]) -> Typed:
        check_present((self.dim,), inputs[0], "Flip")
        return Typed(inputs[0], (Constraint(inputs[0].size(self.dim), 2),))

    def flops(self, inputs: tuple[Shape, ...], out: Shape) -> tuple[Size, ...]:
        return ()

    def receptive(self, fields: tuple[Field, ...], inputs: tuple[Shape, ...]) -> Field:
        return fields[0].everywhere(self.dim.slot == "H", self.dim.slot == "W")

    def reference(self, values: tuple[Array, ...], weights: tuple[Array, ...], work: Calculation) -> Array:
        return np.flip(values[0], work.inputs[0].axis(self.dim))

    def emit(self, scope: Scope) -> None:
        scope.assign(f"{scope.args[0]}.flip({scope.inputs[0].axis(self.dim)})")

    def describe(self) -> str:
        return f"reverse {self.dim.slot}"


def _build(dim: Dim, shapes: tuple[Shape, ...], fresh: object) -> Primitive:
    return Flip(dim)


def _templates(context: FamilyContext) -> Iterator[Template]:
    for dim in SINGLE_DIMS:
        yield Template(f"flip({dim})", "Flip", partial(_build, dim))


def _parse(kind: str, data: dict[str, Any]) -> Primitive:
    return Flip(json_dim(data["dim"]))


FAMILY = Family((Flip,), _templates, _parse)


def search(evaluations: int, seed: int) -> Entry:
    """The best kernel of a random search among those that have a Flip."""
    options = replace(default_space(), num_primitive_range=(2, 5), necessary_filter="flip")
    space = SearchSpace((Site(64, 56, 56), Site(128, 28, 28)), options)
    nowhere = Nowhere()
    parts = Parts(space, AnalyticEvaluator(space.sites), make_reward(), nowhere, nowhere, Stopper())
    session = SearchSession(parts, evaluations, seed)
    try:
        RandomAgent(RandomConfig()).run(session)
    except SearchOver:
        pass
    assert session.archive.best is not None, "every kernel has an estimate"
    return session.archive.best


def main() -> None:
    """Register, search, show."""
    register(FAMILY)
    best = search(evaluations=30, seed=0)
    site = best.graph.sites[0]
    output = build_module(best.graph, site)(torch.zeros(1, *site.shape))
    print(to_text(best.graph))
    print(generate_source(best.graph))
    print(f"reward {best.reward:.3f}; at {site} its output has the shape {tuple(output.shape)}")


if __name__ == "__main__":
    main()
