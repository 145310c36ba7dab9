"""What TensorBoard shows of a run."""

from collections import Counter
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

from canvas_rl.codegen import generate_source
from canvas_rl.drawing import to_pixels
from canvas_rl.evaluation.measurement import Measurement, Status
from canvas_rl.study.archive import Entry


class Board:
    """Event files of a run; the step is the number of evaluations.

    Args:
        folder: where the event files go.
        start: evaluations so far; what a run before wrote beyond them is hidden.
    """

    def __init__(self, folder: Path, start: int = 0) -> None:
        self._writer = SummaryWriter(str(folder), purge_step=start + 1 if start else None)

    def scalar(self, name: str, value: float, step: int) -> None:
        """Record one number."""
        self._writer.add_scalar(name, value, step)

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

    def front(self, size: int, hypervolume: float, step: int) -> None:
        """Record the Pareto front: how many kernels are on it, and what they dominate."""
        self.scalar("pareto/kernels", size, step)
        self.scalar("pareto/hypervolume", hypervolume, step)

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

    def flush(self) -> None:
        """Write out what is still in memory."""
        self._writer.flush()

    def close(self) -> None:
        """End the event file."""
        self._writer.close()
