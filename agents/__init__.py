"""Agents of canvas_rl: ways to search for kernels. `canvas_rl.registration` names them."""

CANVAS_RL_MARKER = "canvas_rl.agents"
