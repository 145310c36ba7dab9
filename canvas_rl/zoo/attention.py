"""Attention and gates: operators whose weights depend on the input."""

from canvas_rl.zoo.operator import Operator

ATTENTION = (
    Operator(
        "large_kernel_attention",
        "The input times what a depthwise 5x5, a dilated depthwise 7x7 and a 1x1 convolution make of it.",
        "Guo et al. 2022, Visual Attention Network, arXiv 2202.09741",
        "conv(5x5,d1,depthwise) conv(7x7,d3,depthwise) fc(C) push(0) mul(under->top) output(1)",
        "conv(5x1,d1,depthwise) conv(7x1,d3,depthwise) fc(C) push(0) mul(under->top) output(1)",
    ),
    Operator(
        "involution",
        "Every pixel makes C/4 numbers with two 1x1 convolutions and a ReLU; channel c takes 9 of them, from number 9c "
        "on and around, as its 3x3 window there.",
        "Li et al. 2021, Involution, arXiv 2103.06255 (there channels share windows in groups)",
        "fc(x) relu fc(x) push(0) unfold(HW,k3,d1) mul(under->top) fold(0.KHKW,avg) output(1/4)",
        "fc(x) relu fc(x) push(0) unfold(H,k3,d1) mul(under->top) fold(0.KH,avg) output(1/4)",
    ),
    Operator(
        "self_attention",
        "Softmax attention of every pixel to all pixels, with queries and keys of C/8 channels.",
        "Zhang et al. 2018, SAGAN, arXiv 1805.08318",
        "fc(x) push(0) fc(x) bmm(under.0,top.0,softmax) push(0) fc(C) bmm(top.1,under.1) output(1/8)",
        "fc(x) push(0) fc(x) bmm(under.0,top.0,softmax) push(0) fc(C) bmm(top.1,under.1) output(1/8)",
        needs={"activation_limit": 1 << 33, "flops_budget": 1000},  # pixels times pixels
    ),
    Operator(
        "pooled_self_attention",
        "Softmax attention of every pixel to the averages of the columns, with queries and keys of C/8 channels.",
        "Wang et al. 2021, Pyramid Vision Transformer, arXiv 2102.12122 (there strided convolutions reduce the image)",
        "fc(x) push(0) fold(1.H,avg) fc(x) bmm(under.0,top.0,softmax) push(2) fc(C) bmm(top.1,under.1) output(1/8)",
    ),
    Operator(
        "local_attention",
        "Softmax attention of every pixel to itself and its 6 neighbours along the last axis.",
        "Ramachandran et al. 2019, Stand-Alone Self-Attention, arXiv 1906.05909 (there the window is a square)",
        "fc(C) push(0) fc(C) unfold(W,k7,d1) mul(under->top) fold(0.C,avg) softmax(0.KW) push(0) fc(C) "
        "unfold(W,k7,d1) mul(under->top) fold(0.KW,avg) output(1)",
        "fc(C) push(0) fc(C) unfold(H,k7,d1) mul(under->top) fold(0.C,avg) softmax(0.KH) push(0) fc(C) "
        "unfold(H,k7,d1) mul(under->top) fold(0.KH,avg) output(1)",
    ),
    Operator(
        "channel_attention",
        "Softmax attention of every channel to all channels, then a 1x1 convolution.",
        "El-Nouby et al. 2021, XCiT, arXiv 2106.09681 (there queries and keys have length 1)",
        "fc(x) push(0) fc(x) bmm(under.1,top.1,softmax) push(0) fc(x) bmm(under.1,top.0) fc(C) output(1)",
        "fc(x) push(0) fc(x) bmm(under.1,top.1,softmax) push(0) fc(x) bmm(under.1,top.0) fc(C) output(1)",
    ),
    Operator(
        "squeeze_excitation",
        "Every channel times a gate that two layers, with C/8 numbers between, make of the channels' averages.",
        "Hu et al. 2017, Squeeze-and-Excitation, arXiv 1709.01507",
        "fold(1.HW,avg) fc(x) relu fc(C) sigmoid push(0) mul(under->top) output(1/8)",
        "fold(1.H,avg) fc(x) relu fc(C) sigmoid push(0) mul(under->top) output(1/8)",
    ),
    Operator(
        "canvas_example",
        "The kernel that Canvas's README prints: the correlation of every channel with the shifts of all along W, "
        "scaled, applied to GELU of ReLU of the shifts along H.",
        "Zhao et al. 2023, Canvas, arXiv 2304.07741",
        "unfold(W,k5,d2) push(0) bmm(top.1,under.1) scale(all) push(0) relu unfold(H,k5,d1) gelu bmm(under.1,top.0) "
        "output(1)",
        "unfold(H,k5,d2) push(0) bmm(top.1,under.1) scale(all) push(0) relu unfold(H,k5,d1) gelu bmm(under.1,top.0) "
        "output(1)",
    ),
)
