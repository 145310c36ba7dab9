"""The PPO agent: Stable-Baselines3's MaskablePPO builds kernels in the environment and learns from their rewards."""

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import KVWriter, Logger

from agents.episodic_ppo import EpisodicPPO
from agents.greedy import GreedyEvaluation
from agents.history import Built, History
from agents.imitation import Step, certainty, demonstrations, imitate
from agents.local_search import Neighbours
from agents.options import require_above, require_not_negative, require_positive, require_share
from agents.policy import FamilyFirstPolicy
from agents.program_policy import ProgramPolicy
from canvas_rl.errors import ConfigError, FormatError
from canvas_rl.session import Session, Snapshot
from envs.batched import BatchedVecEnv
from envs.kernel_construction import KernelConstructionEnv

POLICIES = {"program": ProgramPolicy, "mlp": FamilyFirstPolicy}
_COUNTERS = ("rounds", "num_timesteps", "_n_updates", "repeats", "ent_coef")


@dataclass(frozen=True)
class PPOConfig:
    """Hyper-parameters of PPO; names are Stable-Baselines3's where it has them."""

    kernels_per_update: int = 8
    """kernels built with one policy, which then learns from them"""
    learning_rate: float = 7e-4
    """step size of Adam"""
    batch_size: int = 64
    """transitions of a minibatch"""
    n_epochs: int = 6
    """passes over a round's transitions in an update"""
    gamma: float = 1.0
    """discount; 1 as long kernels are not worse for being long"""
    gae_lambda: float = 0.95
    """bias (0) or variance (1) of the advantage"""
    clip_range: float = 0.2
    """how far an update may move a probability"""
    ent_coef: float = 0.01
    """weight of the entropy bonus, which keeps the policy curious"""
    vf_coef: float = 0.5
    """weight of the value loss"""
    max_grad_norm: float = 0.5
    """gradients are clipped to this norm"""
    target_kl: float | None = 0.05
    """an update ends early beyond this change of the policy (None: never)"""
    hidden: tuple[int, ...] = (128, 128)
    """widths of the hidden layers, of policy and value network alike"""
    policy: str = "program"
    """program reads the actions so far with a GRU and scores actions by the parts of their names; mlp does neither"""
    target_repeats: float = 0.05
    """share of kernels built again above which ent_coef grows until there are fewer (0: it stays)"""
    elite_size: int = 16
    """best kernels so far that the policy imitates"""
    imitation_batches: int = 1
    """minibatches of an update that imitate the best kernels so far (0: none)"""
    climbing: float = 0.4
    """share of kernels that the policy does not build: they differ in an action or a branch from one of the best"""
    patience: int = 1000
    """kernels without a better one after which policy and best kernels, those of a warm start too, are given up for
    fresh ones (0: never)"""
    eval_every: int = 10
    """updates between two kernels built without exploration, to be logged (0: none)"""
    warm_start_epochs: int = 200
    """most passes over the programs of a warm start, which the policy learns before it plays"""

    def __post_init__(self) -> None:
        require_positive(self, "kernels_per_update", "batch_size", "n_epochs")
        require_not_negative(self, "ent_coef", "vf_coef", "patience")
        require_not_negative(self, "elite_size", "imitation_batches", "eval_every", "warm_start_epochs")
        require_above(self, 0, "learning_rate", "clip_range", "max_grad_norm")
        if self.target_kl is not None:
            require_above(self, 0, "target_kl")
        if not self.hidden or min(self.hidden) < 1:
            raise ConfigError(f"hidden is {self.hidden}: expected widths of at least 1")
        require_share(self, "gamma", "gae_lambda", "target_repeats", "climbing")
        if self.policy not in POLICIES:
            raise ConfigError(f"policy is {self.policy!r}: expected one of {', '.join(POLICIES)}")


class PPOAgent:
    """Builds `kernels_per_update` kernels at a time and updates the policy from their rewards."""

    config_type = PPOConfig
    version = 1
    """counts up whenever what is in snapshots changes"""

    def __init__(self, config: PPOConfig) -> None:
        self.config = config

    def run(self, session: Session) -> None:
        """Alternate rounds and updates until the session is over."""
        model = self._build(session)
        if session.restored:
            restore(model, session.restored)
        else:
            self._imitate(model, session)
        model.set_logger(Logger(folder=None, output_formats=[_SessionWriter(session)]))
        callbacks: list[BaseCallback] = [_Checkpoints(session), GreedyEvaluation(session, self.config.eval_every)]
        model.learn(sys.maxsize, callback=callbacks, log_interval=sys.maxsize, reset_num_timesteps=False)

    def _imitate(self, model: EpisodicPPO, session: Session) -> None:
        """Make the programs of the warm start likely, and remember them with what they earned."""
        rng = np.random.default_rng(session.seed)
        steps: list[Step] = []
        for graph, outcome in session.warm_start:
            shown = demonstrations(session.space, graph.program, rng)
            model.history.add(Built(graph.hash, outcome.reward, tuple(shown)))
            steps += shown
        if steps:
            config = self.config
            imitate(model.policy, steps, rng, config.warm_start_epochs, config.batch_size, config.learning_rate)
            session.log("warm_start/step_probability", certainty(model.policy, steps))

    def _build(self, session: Session) -> EpisodicPPO:
        config, history = self.config, History(self.config.elite_size)
        makers = [
            lambda: KernelConstructionEnv(space=session.space, defer=True, length="at_most")
        ] * config.kernels_per_update
        return EpisodicPPO(
            POLICIES[config.policy],
            BatchedVecEnv(makers, judge=session.judge, synchronise=True),
            learning_rate=config.learning_rate,
            batch_size=config.batch_size,
            n_steps=1,
            n_epochs=config.n_epochs,
            gamma=config.gamma,
            gae_lambda=config.gae_lambda,
            clip_range=config.clip_range,
            ent_coef=config.ent_coef,
            vf_coef=config.vf_coef,
            max_grad_norm=config.max_grad_norm,
            target_kl=config.target_kl,
            normalize_advantage=False,
            policy_kwargs={
                "space": session.space,
                "net_arch": {"pi": list(config.hidden), "vf": list(config.hidden)},
            },
            seed=session.seed,
            device="cpu",
            history=history,
            imitation_batches=config.imitation_batches,
            target_repeats=config.target_repeats,
            neighbours=Neighbours(session.space, history),
            climbing=config.climbing,
            patience=config.patience,
        )


def snapshot(model: EpisodicPPO) -> Snapshot:
    """All that `restore` needs: the tensors of policy, optimiser and best kernels, rewards and counters."""
    state = {"history": model.history.state(), **{name: getattr(model, name) for name in _COUNTERS}}
    tensors = {
        "policy": model.policy.state_dict(),
        "optimizer": model.policy.optimizer.state_dict(),
        "elite": model.history.tensors(),
    }
    return Snapshot(state, tensors, PPOAgent.version)


def restore(model: EpisodicPPO, saved: Snapshot) -> None:
    """Put a freshly built model into the saved state.

    Raises:
        FormatError: the checkpoint is damaged, of another agent or version, or of PPO with other networks.
    """
    saved.check_version(PPOAgent.version)
    try:
        model.history.restore(saved.state["history"], saved.tensors["elite"])
        counters = {name: type(getattr(model, name))(saved.state[name]) for name in _COUNTERS}
        model.policy.load_state_dict(saved.tensors["policy"])
        model.policy.optimizer.load_state_dict(saved.tensors["optimizer"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise FormatError(
            f"the checkpoint is damaged, or was made by another agent or with another policy ({type(error).__name__}): "
            "give the agent options it was made with, or start a new run"
        ) from error
    for name, value in counters.items():
        setattr(model, name, value)


class _Checkpoints(BaseCallback):
    """Saves the agent after every update, which is before the next round starts."""

    model: EpisodicPPO

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session

    def _on_rollout_start(self) -> None:
        if self.model.rounds:
            self._session.checkpoint(snapshot(self.model))

    def _on_step(self) -> bool:
        return True


class _SessionWriter(KVWriter):
    """Hands what Stable-Baselines3 logs to the session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def write(self, key_values: dict[str, Any], key_excluded: dict[str, tuple[str, ...]], step: int = 0) -> None:
        for name, value in key_values.items():
            if isinstance(value, int | float | torch.Tensor) or hasattr(value, "item"):
                self._session.log(name, float(value))

    def close(self) -> None:
        """Nothing is held open."""
