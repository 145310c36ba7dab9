"""The construction of a kernel as a Gymnasium environment."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
import numpy.typing as npt
from gymnasium.spaces import Discrete

from canvas_rl.config import SearchOptions
from canvas_rl.errors import ConfigError, IllegalActionError
from canvas_rl.evaluation.analytic import AnalyticEvaluator
from canvas_rl.rewards import Reward, make_reward
from canvas_rl.session import plain_judge
from canvas_rl.space import Limits, SearchSpace
from canvas_rl.symbolic.site import Site
from envs.observation import ObservationEncoder, Vector

if TYPE_CHECKING:
    from canvas_rl.evaluation.measurement import Evaluator

logger = logging.getLogger(__name__)

RESNET18_SITES = (Site(64, 56, 56), Site(128, 28, 28), Site(256, 14, 14), Site(512, 7, 7))

Mask = npt.NDArray[np.bool_]


class KernelConstructionEnv(gymnasium.Env[Vector, np.int64]):
    """Build a kernel, one primitive at a time, that replaces a network's convolutions.

    ## Action space
    `Discrete(n)`: the templates of the search space, named by `env.unwrapped.space.actions`. An action pushes an
    operand on the stack, applies a primitive to its top, or ends the kernel (Output). Which actions are legal is told
    by `action_masks()` and by `info["action_mask"]`; at least one always is, until the kernel is finished. Their
    number depends on the search space's options: at most 512 with the default ones.

    ## Observation space
    `Box(0, 1, float32)`: counters, the families used so far, those of the last three actions, the shapes of the top
    four tensors of the stack, and the last 16 actions; `envs.observation.ObservationEncoder` lists it feature by
    feature.

    ## Rewards
    0 until the episode ends, then what the reward object makes of the evaluator's measurement, within
    `reward_range`. By default `mnasnet` on the `AnalyticEvaluator`, which estimates and runs nothing.

    ## Starting state
    The stack holds the kernel's input. The limits of the kernel (width, whether it needs a BMM, and its length, as
    `length` says) are drawn from the options' ranges; `reset(options={"limits": "widest"})` takes the widest instead.

    ## Episode end
    Terminated by Output, with the finished kernel in `info["kernel"]` and its measurement in `info["measurement"]`; or
    by an illegal action, with the lowest reward and a sentence in `info["illegal_action"]`. Never truncated: the
    number of primitives and of pushes is bounded.

    ## Arguments
    - `sites`: where the kernel has to fit, as `Site`s or (C, H, W) tuples; by default those of ResNet-18.
    - `options`: a `SearchOptions` or a mapping with some of its fields.
    - `evaluator`, `reward`: see Rewards; `reward` is an object or a registered name.
    - `on_illegal`: `"terminate"` or `"raise"` (an `IllegalActionError`).
    - `defer`: don't evaluate; the reward stays 0 and somebody else judges `info["kernel"]`.
    - `length`: `"free"` lets Output choose the number of primitives within the options' range; `"at_most"` and
      `"exact"` draw a bound, or the number itself, evenly over that range for every episode.
    - `space`: a `SearchSpace` to share between environments, in place of `sites` and `options`.

    ## Version history
    - v0: first version.
    """

    metadata = {"render_modes": ["ansi"], "render_fps": 4}  # noqa: RUF012  (the name and type are Gymnasium's)

    def __init__(
        self,
        sites: Sequence[Site | Sequence[int]] = RESNET18_SITES,
        options: SearchOptions | Mapping[str, Any] | None = None,
        evaluator: "Evaluator | None" = None,
        reward: Reward | str = "mnasnet",
        render_mode: str | None = None,
        on_illegal: str = "terminate",
        defer: bool = False,
        length: str = "free",
        space: SearchSpace | None = None,
    ) -> None:
        if on_illegal not in ("terminate", "raise"):
            raise ConfigError(f"on_illegal is {on_illegal!r}: expected 'terminate' or 'raise'")
        if length not in ("free", "at_most", "exact"):
            raise ConfigError(f"length is {length!r}: expected 'free', 'at_most' or 'exact'")
        if render_mode not in (None, "ansi"):
            raise ConfigError(f"render_mode is {render_mode!r}: expected 'ansi' or None")
        self.space = space or _make_space(sites, options)
        self.render_mode = render_mode
        self.defer = defer
        self._on_illegal = on_illegal
        self._length = length
        self._encoder = ObservationEncoder(self.space)
        self.action_space = Discrete(len(self.space.actions))
        self.observation_space = self._encoder.box
        reward = make_reward(reward) if isinstance(reward, str) else reward
        self.reward_range = reward.range
        self._judge = None if defer else plain_judge(evaluator or AnalyticEvaluator(self.space.sites), reward)
        self._state = self.space.start()
        self._mask: Mask | None = None

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Vector, dict[str, Any]]:
        """Start an empty kernel under freshly drawn limits, or the widest.

        Raises:
            ConfigError: `options` are not `{"limits": "widest"}` or nothing.
        """
        super().reset(seed=seed)
        if options not in (None, {}, {"limits": "widest"}):
            raise ConfigError(f"the options of reset are {options!r}: expected {{'limits': 'widest'}} or none")
        self._state = self.space.start(self.space.widest() if options else self._draw_limits())
        self._mask = None
        return self._encoder.encode(self._state), {"action_mask": self.action_masks()}

    def _draw_limits(self) -> Limits:
        limits = self.space.draw_limits(self.np_random, exact_length=self._length != "free")
        if self._length == "at_most":
            limits = replace(limits, min_primitives=self.space.options.num_primitive_range[0])
        return limits

    def step(self, action: Any) -> tuple[Vector, float, bool, bool, dict[str, Any]]:
        """Apply an action.

        Raises:
            IllegalActionError: the mask forbids it, with `on_illegal="raise"`.
        """
        index = int(action)
        if not (0 <= index < len(self.space.actions) and self.action_masks()[index]):
            return self._illegal(index)
        self._state = self.space.step(self._state, index)
        self._mask = None
        info: dict[str, Any] = {"action_mask": self.action_masks()}
        reward = 0.0
        graph = self._state.graph
        if graph is not None:
            info["kernel"] = graph
            if self._judge is not None:
                outcome = self._judge([graph])[0]
                reward, info["measurement"] = outcome.reward, outcome.measurement
        return self._encoder.encode(self._state), reward, self._state.done, False, info

    def action_masks(self) -> Mask:
        """Which actions are legal now, [actions]; none are once the kernel is finished."""
        if self._mask is None:
            done = self._state.done
            self._mask = np.zeros(len(self.space.actions), dtype=bool) if done else self.space.mask(self._state)
        return self._mask.copy()

    def render(self) -> str | None:
        """The kernel so far as text, one line a primitive, with `render_mode="ansi"`."""
        if self.render_mode is None:
            return None
        lines = [
            f"%{index} = {node.primitive.describe()}({', '.join(f'%{source}' for source in node.inputs)}) {node.shape}"
            for index, node in enumerate(self._state.nodes)
        ]
        ending = "finished" if self._state.done else "stack: " + " ".join(f"%{index}" for index in self._state.stack)
        return "\n".join([*lines, ending])

    def _illegal(self, index: int) -> tuple[Vector, float, bool, bool, dict[str, Any]]:
        if not 0 <= index < len(self.space.actions):
            reason = f"action {index} does not exist: expected 0 to {len(self.space.actions) - 1}"
        elif self._state.done:
            reason = f"action {self.space.actions[index]} comes after the end of the kernel: call reset first"
        else:
            reason = self.space.explain(self._state, index)
        if self._on_illegal == "raise":
            raise IllegalActionError(reason)
        info = {"action_mask": self.action_masks(), "illegal_action": reason}
        return self._encoder.encode(self._state), float(self.reward_range[0]), True, False, info


def _make_space(
    sites: Sequence[Site | Sequence[int]], options: SearchOptions | Mapping[str, Any] | None
) -> SearchSpace:
    if not isinstance(options, SearchOptions):
        options = SearchOptions.from_json(dict(options or {}))
    space = SearchSpace(tuple(site if isinstance(site, Site) else Site(*site) for site in sites), options)
    logger.info("search space: %d actions", len(space.actions))
    return space
