"""The evaluator that looks measurements up: a search on it costs nothing, and the best kernel is known."""

import hashlib
from collections.abc import Callable, Sequence
from importlib.resources import as_file, files
from pathlib import Path

from canvas_rl.errors import EvaluationError, IllegalActionError
from canvas_rl.evaluation.measurement import Kernel, Measurement
from canvas_rl.evaluation.table import BenchmarkTable
from canvas_rl.ir import KernelGraph
from canvas_rl.space import SearchSpace, every_limits

SHIPPED = "benchmark.json.gz"


class TabulatedEvaluator:
    """Judges the kernels of a benchmark table by their recorded measurements.

    `space` is the search space to search in: the table has every kernel that it can build.

    Args:
        table: the table, or the path of its file; None for the one that is shipped (docs/benchmark.md).

    Raises:
        FormatError: the file is missing, damaged or of another version.
    """

    def __init__(self, table: BenchmarkTable | str | Path | None = None) -> None:
        if table is None:
            with as_file(files(__package__) / SHIPPED) as path:
                self.table = BenchmarkTable.load(path)
        else:
            self.table = table if isinstance(table, BenchmarkTable) else BenchmarkTable.load(Path(table))
        self.fingerprint = hashlib.sha256(self.table.content).hexdigest()[:32]
        self.reference = self.table.reference
        self.measurements = self.table.measurements

    @property
    def space(self) -> SearchSpace:
        """The search space whose kernels are in the table, made once."""
        return self.table.space

    def evaluate(
        self, graphs: Sequence[Kernel], on_result: Callable[[Measurement], None] | None = None
    ) -> list[Measurement]:
        """The recorded measurements in the order of `graphs`; `on_result` is called with each.

        Raises:
            EvaluationError: a kernel is not in the table.
        """
        found = [self._look_up(graph.hash) for graph in graphs]
        if on_result:
            for measurement in found:
                on_result(measurement)
        return found

    def graph(self, kernel: str) -> KernelGraph:
        """The kernel graph of a hash in the table.

        Raises:
            EvaluationError: there is no such kernel in the table, or this version of canvas_rl builds another one.
        """
        self._look_up(kernel)
        program = self.table.programs[kernel]
        for limits in every_limits(self.space):
            try:
                graph = self.space.replay(program, limits).graph
            except IllegalActionError:
                continue
            if graph is not None and graph.hash == kernel:
                return graph
        raise EvaluationError(
            f"the program {' '.join(program)} of the benchmark table does not build kernel {kernel}: the table was "
            "made with another version of canvas_rl"
        )

    def close(self) -> None:
        """Nothing was started."""

    def _look_up(self, kernel: str) -> Measurement:
        if kernel not in self.measurements:
            raise EvaluationError(
                f"kernel {kernel} is not among the {len(self.measurements)} of the benchmark table: search in the "
                "table's own space, TabulatedEvaluator().space"
            )
        return self.measurements[kernel]
