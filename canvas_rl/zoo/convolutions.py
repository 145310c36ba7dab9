"""Convolutions and what replaces them: windows, groups, factorisations, shifts."""

from canvas_rl.zoo.operator import Operator

_SOFT_SHIFT = "push(0) shift({},{}) scale(0.C) add(under->top)"


def _dense(k: int, reference: str) -> Operator:
    return Operator(
        f"conv{k}x{k}",
        f"A dense {k}x{k} convolution.",
        reference,
        f"conv({k}x{k},d1,C) output(1)",
        f"conv({k}x1,d1,C) output(1)",
    )


def _channel_shift(*axes: str) -> str:
    shifted = [_SOFT_SHIFT.format(axis, step) for axis in axes for step in ("+1", "-1")]
    return " ".join(["scale(0.C)", *shifted, "fc(C)", "output(1)"])


CONVOLUTIONS = (
    Operator(
        "conv1x1",
        "A 1x1 convolution.",
        "Lin et al. 2013, Network in Network, arXiv 1312.4400",
        "fc(C) output(1)",
        "fc(C) output(1)",
        "fc(C) output(1)",
    ),
    _dense(3, "Simonyan and Zisserman 2014, VGG, arXiv 1409.1556"),
    _dense(5, "LeCun et al. 1998, LeNet-5, Proceedings of the IEEE 86(11)"),
    _dense(7, "Zeiler and Fergus 2013, ZFNet, arXiv 1311.2901"),
    Operator(
        "grouped_conv3x3",
        "A 3x3 convolution in 4 groups.",
        "Xie et al. 2016, ResNeXt, arXiv 1611.05431",
        "group(0,4) conv(3x3,d1,C) output(1)",
        "group(0,4) conv(3x1,d1,C) output(1)",
    ),
    Operator(
        "depthwise_conv3x3",
        "A 3x3 convolution of each channel on its own.",
        "Chollet 2016, Xception, arXiv 1610.02357",
        "conv(3x3,d1,depthwise) output(1)",
        "conv(3x1,d1,depthwise) output(1)",
    ),
    Operator(
        "depthwise_separable",
        "A depthwise 3x3 convolution, then a 1x1 convolution.",
        "Howard et al. 2017, MobileNets, arXiv 1704.04861",
        "conv(3x3,d1,depthwise) fc(C) output(1)",
        "conv(3x1,d1,depthwise) fc(C) output(1)",
    ),
    Operator(
        "dilated_conv3x3",
        "A 3x3 convolution whose taps are 2 pixels apart.",
        "Yu and Koltun 2015, arXiv 1511.07122",
        "conv(3x3,d2,C) output(1)",
        "conv(3x1,d2,C) output(1)",
    ),
    Operator(
        "spatially_separable",
        "A 3x1 convolution, then a 1x3 convolution.",
        "Szegedy et al. 2015, Inception-v3, arXiv 1512.00567",
        "conv(3x1,d1,C) conv(1x3,d1,C) output(1)",
    ),
    Operator(
        "bottleneck",
        "A 1x1 convolution to C/4 channels, a 3x3 convolution among these, a 1x1 convolution back; ReLU in between.",
        "He et al. 2015, ResNet, arXiv 1512.03385",
        "fc(x) relu conv(3x3,d1,x) relu fc(C) output(1/4)",
        "fc(x) relu conv(3x1,d1,x) relu fc(C) output(1/4)",
        needs={"flops_budget": 2, "params_budget": 2},  # C/4 is a quarter of what these allow: C
    ),
    Operator(
        "shift_conv1x1",
        "A cyclic shift of the image by one pixel along each axis, then a 1x1 convolution.",
        "Wu et al. 2017, Shift, arXiv 1711.08141 (there each channel has a direction of its own)",
        "shift(1.HW,+1) fc(C) output(1)",
        "shift(1.H,+1) fc(C) output(1)",
    ),
    Operator(
        "channel_shift_conv1x1",
        "The image and its cyclic shifts by one pixel in every direction, added with learned weights for each channel, "
        "then a 1x1 convolution; weights of 0 and 1 choose a direction for each channel.",
        "Wu et al. 2017, Shift, arXiv 1711.08141",
        _channel_shift("1.H", "1.W"),
        _channel_shift("1.H"),
    ),
)
