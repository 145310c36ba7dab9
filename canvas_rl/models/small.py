"""Small networks of 1 and 0 spatial dims."""

import torch
from torch import nn

from canvas_rl.placeholder import Placeholder


class ResNet1d(nn.Module):
    """A residual network for signals, [N, 1, H] to [N, classes], with two stages of 16 and 32 channels."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Conv1d(1, 16, 7, stride=2, padding=3)
        self.conv1 = nn.Conv1d(16, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm1d(16)
        self.widen = nn.Conv1d(16, 32, 1, stride=2)
        self.conv2 = nn.Conv1d(32, 32, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm1d(32)
        self.fc = nn.Linear(32, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class scores of signals."""
        x = torch.relu(self.stem(x))
        x = torch.relu(self.bn1(self.conv1(x)) + x)
        x = self.widen(x)
        x = torch.relu(self.bn2(self.conv2(x)) + x)
        scores: torch.Tensor = self.fc(x.mean(dim=2))
        return scores


class Mlp(nn.Module):
    """A residual network for vectors, [N, 64] to [N, classes]; it has no convolution, so it brings placeholders."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        self.stem = nn.Linear(64, 32)
        self.norm1, self.kernel1 = nn.LayerNorm(32), Placeholder()
        self.widen = nn.Linear(32, 64)
        self.norm2, self.kernel2 = nn.LayerNorm(64), Placeholder()
        self.fc = nn.Linear(64, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class scores of vectors."""
        x = self.stem(x)
        x = torch.relu(self.kernel1(self.norm1(x)) + x)
        x = self.widen(x)
        x = torch.relu(self.kernel2(self.norm2(x)) + x)
        scores: torch.Tensor = self.fc(x)
        return scores


def resnet1d() -> tuple[nn.Module, torch.Tensor]:
    """The signal network, and an example of 128 steps."""
    return ResNet1d(), torch.zeros(1, 1, 128)


def mlp() -> tuple[nn.Module, torch.Tensor]:
    """The vector network, and an example."""
    return Mlp(), torch.zeros(1, 64)
