"""What TensorBoard shows of a run."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from tensorboard.compat.proto.summary_pb2 import Summary
from torch.utils.tensorboard import SummaryWriter

from canvas_rl.codegen import generate_source
from canvas_rl.drawing import to_pixels
from canvas_rl.evaluation.measurement import Measurement, Status
from canvas_rl.study.archive import Entry, family_shares
from canvas_rl.study.axes import Figures
from canvas_rl.study.front_figure import draw_front
from canvas_rl.study.hyperparameters import end_summary, start_summaries
from canvas_rl.study.listing import markdown_table
from canvas_rl.study.result import Row
from canvas_rl.study.settings import SearchSettings

_END = ".end"
"""Suffix of the event file that says that a run is over."""


class Board:
    """Event files of a run; the step is the number of evaluations.

    Args:
        folder: where the event files go.
        start: evaluations so far; what was written beyond them before the run was resumed is hidden.
        reference: quality of the replaced convolution, for the picture of the front.
    """

    def __init__(self, folder: Path, start: int = 0, reference: float | None = None) -> None:
        self._folder = Path(folder)
        self._begun = any(self._folder.glob("events.*"))
        self._writer = SummaryWriter(str(folder), purge_step=start + 1)
        self._reference = reference
        self._drawn = 0
        self._table = ""
        self._shares: dict[str, float] = {}

    def scalar(self, name: str, value: float, step: int) -> None:
        """Record one number."""
        self._writer.add_scalar(name, value, step)

    def settings(self, settings: SearchSettings) -> None:
        """Record the settings by which runs are compared; a resumed run has them already, and is no longer over.

        They go into the run itself; `SummaryWriter.add_hparams` would make a run beside it, named by the time.
        """
        for ended in self._folder.glob(f"events.*{_END}"):
            ended.unlink()
        if not self._begun:
            _write(self._writer, *start_summaries(settings))

    def measurement(self, measurement: Measurement, reward: float, step: int) -> None:
        """Record what one kernel earned and why; costs are summed over the sites."""
        self.scalar("kernel/reward", reward, step)
        figures = {"speedup": measurement.speedup, "quality": measurement.quality}
        if measurement.sites:
            figures["flops"] = sum(site.flops for site in measurement.sites)
            figures["parameters"] = sum(site.params for site in measurement.sites)
        for name, value in figures.items():
            if value is not None:
                self.scalar(f"kernel/{name}", value, step)

    def counts(self, statuses: Counter[str], store_hits: int, repeats: int, step: int) -> None:
        """Record the totals so far: failures by status, skipped kernels, store hits, repeated kernels."""
        failures = {status: count for status, count in statuses.items() if status not in (Status.OK, Status.SKIPPED)}
        for status, count in failures.items():
            self.scalar(f"failures/{status}", count, step)
        self.scalar("search/failures", sum(failures.values()), step)
        self.scalar("search/skipped", statuses[Status.SKIPPED], step)
        self.scalar("search/store_hits", store_hits, step)
        self.scalar("search/repeats", repeats, step)

    def front(self, front: Sequence[Entry], hypervolume: float, measured: Sequence[Figures], step: int) -> None:
        """Record the Pareto front: how many kernels are on it, what they dominate, and a picture.

        Args:
            front: its kernels.
            hypervolume: what they dominate.
            measured: all kernels so far that have a speedup and a quality.
            step: evaluations.
        """
        self.scalar("pareto/kernels", len(front), step)
        self.scalar("pareto/hypervolume", hypervolume, step)
        self._draw(front, measured, step)

    def archive(self, entries: Sequence[Entry], step: int) -> None:
        """Record the best kernels as a table, and which families are in how many of them, where that changed."""
        table = markdown_table(entries) if entries else ""
        if table != self._table:
            self._writer.add_text("best/kernels", table, step)
            self._table = table
        shares = dict.fromkeys(self._shares, 0.0) | family_shares(entries)
        if shares != self._shares:
            self._shares = shares
            for name, share in shares.items():
                self.scalar(f"families/{name}", share, step)

    def best(self, entry: Entry, step: int) -> None:
        """Record a new best kernel: figures, source and picture."""
        self.scalar("best/reward", entry.reward, step)
        if entry.measurement.speedup is not None:
            self.scalar("best/speedup", entry.measurement.speedup, step)
        if entry.measurement.quality is not None:
            self.scalar("best/quality", entry.measurement.quality, step)
        source = generate_source(entry.graph)
        code = "\n".join("    " + line for line in source.splitlines())  # an indented block of Markdown
        self._writer.add_text("best/code", code, step)
        self._writer.add_image("best/picture", to_pixels(entry.graph), step, dataformats="HWC")

    def final(self, rows: Sequence[Row], front: Sequence[Entry], measured: Sequence[Figures], step: int) -> None:
        """Record the end of the search.

        Args:
            rows: the best kernels, the very best first.
            front: the kernels of the Pareto front.
            measured: all kernels that have a speedup and a quality.
            step: evaluations.
        """
        self.scalar("final/evaluations", step, step)
        if rows and rows[0].network is not None:
            self.scalar("final/network_speedup", rows[0].network.speedup, step)
        if front and step > self._drawn:
            self._draw(front, measured, step)

    def end(self) -> None:
        """Record that the run is over.

        TensorBoard believes the first record of this kind, so it has a file of its own, which goes if the run goes on.
        """
        self.flush()  # TensorBoard does not come back to a file once there is a newer one
        writer = SummaryWriter(str(self._folder), filename_suffix=_END)
        _write(writer, end_summary())
        writer.close()

    def _draw(self, front: Sequence[Entry], measured: Sequence[Figures], step: int) -> None:
        kernels = [known for known in map(Figures.of, (entry.measurement for entry in front)) if known]
        picture = draw_front(measured, kernels, self._reference, step)
        self._writer.add_image("pareto/front", picture, step, dataformats="HWC")
        self._drawn = step

    def flush(self) -> None:
        """Write out what is still in memory."""
        self._writer.flush()

    def close(self) -> None:
        """End the event file."""
        self._writer.close()


def _write(writer: SummaryWriter, *summaries: Summary) -> None:
    for summary in summaries:
        writer._get_file_writer().add_summary(summary)  # type: ignore[no-untyped-call]
