"""Proxy training: the quality of a kernel, from a small network on a small data set."""

from canvas_rl.evaluation.proxy.backbone import BACKBONES, build_backbone, proxy_fingerprint, proxy_sites, sample_shape
from canvas_rl.evaluation.proxy.config import ProxyConfig
from canvas_rl.evaluation.proxy.residual import MakeKernel
from canvas_rl.evaluation.proxy.training import ProxyResult, rescale, score_network, train_proxy

__all__ = [
    "BACKBONES",
    "MakeKernel",
    "ProxyConfig",
    "ProxyResult",
    "build_backbone",
    "proxy_fingerprint",
    "proxy_sites",
    "rescale",
    "sample_shape",
    "score_network",
    "train_proxy",
]
