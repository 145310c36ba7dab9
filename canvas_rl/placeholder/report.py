"""What automatic placement did to a network, and why."""

from dataclasses import dataclass

from canvas_rl.symbolic.site import ReferenceConv, Site


@dataclass(frozen=True)
class Placement:
    """What became of one convolution.

    Attributes:
        names: all its paths in the network; more than one where it is shared.
        convolution: what it was, as PyTorch prints it.
        taken: whether a placeholder stands there now.
        reason: why, in a few words.
        site: the sizes of its input and output, None where it was left.
        reference: what a kernel is compared with there, None where it was left.
    """

    names: tuple[str, ...]
    convolution: str
    taken: bool
    reason: str
    site: Site | None = None
    reference: ReferenceConv | None = None

    def __str__(self) -> str:
        names = " = ".join(name or "(the model)" for name in self.names)
        return f"{'taken' if self.taken else 'left '}  {names}  {self.convolution}: {self.reason}"


@dataclass(frozen=True)
class PlacementReport:
    """What became of every convolution, in the order of the network's modules."""

    placements: tuple[Placement, ...]

    @property
    def taken(self) -> tuple[Placement, ...]:
        """Where placeholders stand now."""
        return tuple(placement for placement in self.placements if placement.taken)

    @property
    def left(self) -> tuple[Placement, ...]:
        """What stayed a convolution."""
        return tuple(placement for placement in self.placements if not placement.taken)

    def __str__(self) -> str:
        head = f"{len(self.taken)} of {len(self.placements)} convolutions became placeholders"
        return "\n".join([head, *(f"  {placement}" for placement in self.placements)])
