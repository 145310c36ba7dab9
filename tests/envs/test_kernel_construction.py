import logging
from itertools import pairwise

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from stable_baselines3.common.env_checker import check_env as check_env_sb3

from canvas_rl.errors import ConfigError, IllegalActionError
from canvas_rl.ir import KernelGraph
from canvas_rl.registration import ENVIRONMENT_ID
from canvas_rl.space import SearchSpace
from envs.kernel_construction import KernelConstructionEnv
from envs.wrappers import DictMaskObservation


def play(env, seed=0, episodes=1):
    """Masked random play: every (observation, reward, terminated, info) after the first of each episode."""
    rng = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    seen = []
    for episode in range(episodes):
        if episode:
            observation, info = env.reset()
        terminated = False
        while not terminated:
            action = rng.choice(np.flatnonzero(info["action_mask"]))
            observation, reward, terminated, truncated, info = env.step(action)
            assert not truncated
            seen.append((observation, reward, terminated, info))
    return seen


def small_env(space, **changes):
    return KernelConstructionEnv(space=space, **changes)


def test_make_by_id_with_plain_values():
    env = gymnasium.make(
        ENVIRONMENT_ID,
        sites=[(8, 4, 4)],
        options={"allowed_filter": "fc,relu", "num_primitive_range": [1, 2]},
    )
    assert play(env)[-1][2]
    assert env.spec is not None
    assert env.spec.id == "canvas_rl/KernelConstruction-v0"


def test_default_space_has_at_most_512_actions():
    env = gymnasium.make(ENVIRONMENT_ID)
    assert 100 < env.action_space.n <= 512


def test_gymnasium_checker(space, recwarn):
    sites = [site.shape for site in space.sites]
    env = gymnasium.make(ENVIRONMENT_ID, sites=sites, options=space.options, render_mode="ansi")
    check_env(env.unwrapped, skip_render_check=True)
    problems = [str(warning.message) for warning in recwarn if "env_checker" in str(warning.filename)]
    assert not problems


def test_stable_baselines_checker(space):
    check_env_sb3(small_env(space))


def test_masked_play_ends_in_a_legal_kernel_within_the_reward_range(space):
    env = small_env(space)
    ends = [step for step in play(env, episodes=20) if step[2]]
    assert len(ends) == 20
    for _, reward, _, info in ends:
        assert isinstance(info["kernel"], KernelGraph)
        for site in space.sites:
            info["kernel"].check(site)
        assert env.reward_range[0] <= reward <= env.reward_range[1]
        assert info["measurement"].kernel == info["kernel"].hash


def test_reward_comes_at_the_end_only(space):
    for _, reward, terminated, info in play(small_env(space), episodes=5):
        assert terminated or reward == 0
        assert terminated == ("kernel" in info)


def test_same_seed_same_episodes(space):
    first, second = (play(small_env(space), seed=7, episodes=5) for _ in range(2))
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        assert one[1:3] == other[1:3]
        np.testing.assert_array_equal(one[3]["action_mask"], other[3]["action_mask"])


def test_mask_is_what_the_space_says_and_a_copy(space):
    env = small_env(space)
    _, info = env.reset(seed=1)
    expected = space.mask(env._state)
    np.testing.assert_array_equal(env.action_masks(), expected)
    info["action_mask"][:] = False
    np.testing.assert_array_equal(env.action_masks(), expected)


def test_illegal_action_terminates_with_the_lowest_reward_and_a_sentence(space):
    env = small_env(space)
    _, info = env.reset(seed=0)
    illegal = int(np.flatnonzero(~info["action_mask"])[0])
    _, reward, terminated, truncated, info = env.step(illegal)
    assert (reward, terminated, truncated) == (env.reward_range[0], True, False)
    assert space.actions[illegal] in info["illegal_action"]
    assert "kernel" not in info


@pytest.mark.parametrize("action", [-1, 10**6])
def test_action_out_of_range_is_illegal(space, action):
    env = small_env(space)
    env.reset(seed=0)
    assert "does not exist" in env.step(action)[4]["illegal_action"]


def test_action_after_the_end_is_illegal(space):
    env = small_env(space)
    play(env)
    _, _, terminated, _, info = env.step(0)
    assert terminated
    assert "reset" in info["illegal_action"]


def test_illegal_action_raises_if_asked_to(space):
    env = small_env(space, on_illegal="raise")
    _, info = env.reset(seed=0)
    with pytest.raises(IllegalActionError):
        env.step(int(np.flatnonzero(~info["action_mask"])[0]))


def test_unmasked_play_never_raises(space):
    env = small_env(space)
    rng = np.random.default_rng(3)
    for seed in range(30):
        env.reset(seed=seed)
        terminated = False
        while not terminated:
            _, _, terminated, _, _ = env.step(rng.integers(env.action_space.n))


def test_deferred_evaluation_gives_the_kernel_and_no_measurement(space):
    env = small_env(space, defer=True)
    _, reward, _, info = play(env)[-1]
    assert reward == 0
    assert isinstance(info["kernel"], KernelGraph)
    assert "measurement" not in info


def test_given_evaluator_and_reward_are_used(space):
    class Evaluator:
        fingerprint, reference = "fake", None

        def evaluate(self, graphs):
            return [f"measured {graph.hash}" for graph in graphs]

        def close(self):
            pass

    class Reward:
        range, deterministic = (-1.0, 3.0), True

        def __call__(self, measurement, reference):
            assert reference is None
            return 2.5

    env = small_env(space, evaluator=Evaluator(), reward=Reward())
    _, reward, _, info = play(env)[-1]
    assert reward == 2.5
    assert info["measurement"] == f"measured {info['kernel'].hash}"
    assert env.reward_range == (-1.0, 3.0)


@pytest.mark.parametrize("length", ["exact", "at_most"])
def test_drawn_lengths_reach_every_length(space, length):
    env = small_env(space, length=length, defer=True)
    lengths = set()
    for seed in range(30):
        lengths.add(play(env, seed)[-1][3]["kernel"].primitive_count)
        limits = env._state.limits
        assert limits.min_primitives == (limits.max_primitives if length == "exact" else 2)
    assert lengths == {2, 3, 4}


def test_the_widest_limits_may_be_asked_for(space):
    env = small_env(space, length="exact", defer=True)
    env.reset(seed=0, options={"limits": "widest"})
    assert env._state.limits == space.widest()
    with pytest.raises(ConfigError, match=r"the options of reset are \{'limits': 'none'\}: expected"):
        env.reset(options={"limits": "none"})


def test_ansi_rendering_grows_with_the_kernel(space):
    env = small_env(space, render_mode="ansi")
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    texts = [env.render()]
    terminated = False
    while not terminated:
        _, _, terminated, _, _ = env.step(rng.choice(np.flatnonzero(env.action_masks())))
        texts.append(env.render())
    assert texts[0].startswith("%0 = ")
    assert "stack: %0" in texts[0]
    assert texts[-1].endswith("finished")
    assert all(len(before) <= len(after) + len("stack: %0 %0 %0") for before, after in pairwise(texts))


@pytest.mark.parametrize("changes", [{"on_illegal": "ignore"}, {"render_mode": "human"}, {"length": "long"}])
def test_bad_arguments(space, changes):
    with pytest.raises(ConfigError, match="expected"):
        small_env(space, **changes)


def test_mask_in_a_dict_observation(space):
    env = DictMaskObservation(small_env(space))
    check_env_sb3(env)
    observation, info = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    np.testing.assert_array_equal(observation["action_mask"], info["action_mask"])
    np.testing.assert_array_equal(observation["action_mask"], env.action_masks())


def test_number_of_actions_is_logged(caplog):
    from canvas_rl.symbolic.site import Site

    with caplog.at_level(logging.INFO, logger="envs"):
        KernelConstructionEnv(
            sites=[Site(8, 4, 4)], options={"allowed_filter": "fc,relu", "num_primitive_range": (1, 2)}
        )
    assert "actions" in caplog.text


def test_spaces_may_be_shared(space):
    assert isinstance(space, SearchSpace)
    assert small_env(space).space is small_env(space).space
