"""Residual networks for images (He et al. 2016, arXiv 1512.03385), in plain torch.

`resnet18` and `resnet34` have the layers and the parameter names of torchvision's, so its weights load into them.
"""

import torch
from torch import nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, [N, C_in, H, W] to [N, C_out, H / stride, W / stride]."""

    def __init__(self, c_in: int, c_out: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        self.downsample: nn.Module | None = None
        if stride != 1 or c_in != c_out:
            self.downsample = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The block's output."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        out: torch.Tensor = self.relu(self.bn2(self.conv2(x)) + shortcut)
        return out


class ImageNetResNet(nn.Module):
    """The ImageNet form: a 7x7 stem, four stages of 64 to 512 channels, global average pooling."""

    def __init__(self, blocks: tuple[int, int, int, int], classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = _stage(64, 64, blocks[0], stride=1)
        self.layer2 = _stage(64, 128, blocks[1], stride=2)
        self.layer3 = _stage(128, 256, blocks[2], stride=2)
        self.layer4 = _stage(256, 512, blocks[3], stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(512, classes)
        self.apply(_start)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class scores [N, classes] of images [N, 3, H, W]."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        scores: torch.Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return scores


class CifarResNet(nn.Module):
    """The CIFAR form: a 3x3 stem and three stages of 16, 32 and 64 channels; 6n+2 layers for n blocks a stage."""

    def __init__(self, blocks: int, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(64, classes)
        self.apply(_start)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Class scores [N, classes] of images [N, 3, H, W]."""
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        scores: torch.Tensor = self.fc(torch.flatten(self.avgpool(x), 1))
        return scores


def resnet18() -> tuple[nn.Module, torch.Tensor]:
    """ResNet-18 for 1,000 classes, and an ImageNet-sized example."""
    return ImageNetResNet((2, 2, 2, 2)), torch.zeros(1, 3, 224, 224)


def resnet34() -> tuple[nn.Module, torch.Tensor]:
    """ResNet-34 for 1,000 classes, and an ImageNet-sized example."""
    return ImageNetResNet((3, 4, 6, 3)), torch.zeros(1, 3, 224, 224)


def resnet8() -> tuple[nn.Module, torch.Tensor]:
    """The smallest CIFAR ResNet, for 10 classes, and a CIFAR-sized example."""
    return CifarResNet(1), torch.zeros(1, 3, 32, 32)


def _stage(c_in: int, c_out: int, blocks: int, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(c_in, c_out, stride), *(BasicBlock(c_out, c_out) for _ in range(blocks - 1)))


def _start(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
