"""Writing a primitive's PyTorch code."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from canvas_rl.symbolic.shape import Shape
from canvas_rl.symbolic.size import ONE, Size


@dataclass
class Scope:
    """Where a primitive writes its code.

    Args:
        index: number of the primitive in its graph; attribute names end with it.
        inputs: shapes of the operands.
        args: variable names of the operands.
        out: shape of the result.
        target: variable name of the result.
        mean_square: about that of the first operand's elements at the start.
    """

    index: int
    inputs: tuple[Shape, ...]
    args: tuple[str, ...]
    out: Shape
    target: str
    mean_square: Size = ONE
    init: list[str] = field(default_factory=list)
    forward: list[str] = field(default_factory=list)

    def attribute(self, prefix: str) -> str:
        """A module attribute's name, unique in the kernel."""
        return f"{prefix}{self.index}"

    def assign(self, expression: str) -> None:
        """Set the result."""
        self.forward.append(f"{self.target} = {expression}")

    def layer(self, name: str, constructor: str, fan_in: Size) -> None:
        """Add a layer with a `weight`, started so that the mean square of its output is 1."""
        self.init.append(f"self.{name} = {constructor}")
        self.init.append(f"nn.init.normal_(self.{name}.weight, std={self.deviation(fan_in)})")

    def deviation(self, fan_in: Size) -> str:
        """The standard deviation of weights of which so many add up to an element of mean square 1."""
        return root(fan_in * self.mean_square)

    def parameter(self, name: str, sizes: Sequence[Size]) -> None:
        """Add an empty parameter."""
        self.init.append(f"self.{name} = nn.Parameter(torch.empty({arguments(sizes)}))")


def root(fan_in: Size) -> str:
    """`fan_in ** -0.5` as an expression."""
    text = fan_in.python().replace("//", "/")
    return f"{text} ** -0.5" if text.isidentifier() or text.isdigit() else f"({text}) ** -0.5"


def arguments(sizes: Sequence[Size], *, batch: bool = False) -> str:
    """Sizes as call arguments, after the batch size `n` where asked."""
    return ", ".join((["n"] if batch else []) + [size.python() for size in sizes])


def reshaped(name: str, shape: Sequence[Size], target: Sequence[Size]) -> str:
    """`name` with the sizes `target`, without a call where it has them already."""
    return name if tuple(shape) == tuple(target) else f"{name}.reshape({arguments(target, batch=True)})"
