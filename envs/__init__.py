"""Gymnasium environments of canvas_rl: `gymnasium.make("envs:canvas_rl/KernelConstruction-v0")`."""

import gymnasium

CANVAS_RL_MARKER = "canvas_rl.envs"

gymnasium.register(
    id="canvas_rl/KernelConstruction-v0",
    entry_point="envs.kernel_construction:KernelConstructionEnv",
)
