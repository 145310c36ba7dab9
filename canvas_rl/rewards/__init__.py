"""Rewards: what a measurement is worth to an agent, as objects that say their range."""

from canvas_rl.rewards.base import REWARDS, Reward, make_reward
from canvas_rl.rewards.constrained import LatencyUnderQuality
from canvas_rl.rewards.mnasnet import MnasNet

__all__ = ["REWARDS", "LatencyUnderQuality", "MnasNet", "Reward", "make_reward"]
