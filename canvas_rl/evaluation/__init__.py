"""Judging kernels: static cost, gates, latency, proxy training, isolation and the store."""
