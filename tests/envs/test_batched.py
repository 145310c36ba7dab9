import numpy as np
import pytest
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported

from canvas_rl.errors import ConfigError
from canvas_rl.session import Outcome
from envs.batched import BatchedVecEnv
from envs.kernel_construction import KernelConstructionEnv


class Judge:
    """Pays 1, 2, 3, ... and remembers the batches."""

    def __init__(self):
        self.batches = []
        self.paid = {}

    def __call__(self, graphs):
        self.batches.append(list(graphs))
        outcomes = []
        for graph in graphs:
            self.paid[id(graph)] = float(len(self.paid) + 1)
            outcomes.append(Outcome(self.paid[id(graph)]))
        return outcomes


def make(space, count, **changes):
    judge = Judge()
    makers = [lambda: KernelConstructionEnv(space=space, defer=True)] * count
    env = BatchedVecEnv(makers, judge, **changes)
    env.seed(0)
    return env, judge


def random_actions(env, rng):
    return np.array([rng.choice(np.flatnonzero(mask)) for mask in get_action_masks(env)])


def test_kernels_finished_in_a_step_are_judged_in_one_batch(space):
    env, judge = make(space, 8)
    rng = np.random.default_rng(0)
    env.reset()
    finished = 0
    for _ in range(40):
        before = len(judge.batches)
        _, rewards, dones, infos = env.step(random_actions(env, rng))
        assert len(judge.batches) - before == bool(dones.any())
        if dones.any():
            assert judge.batches[-1] == [infos[i]["kernel"] for i in np.flatnonzero(dones)]
        for index in np.flatnonzero(dones):
            assert rewards[index] == judge.paid[id(infos[index]["kernel"])]
            assert infos[index]["terminal_observation"].shape == env.observation_space.shape
        assert not rewards[~dones].any()
        finished += int(dones.sum())
    assert finished > 20
    assert any(len(batch) > 1 for batch in judge.batches)


def test_finished_environments_start_anew(space):
    env, _ = make(space, 2)
    rng = np.random.default_rng(0)
    env.reset()
    for _ in range(30):
        observations, _, dones, _ = env.step(random_actions(env, rng))
        for index in np.flatnonzero(dones):
            assert env.envs[index]._state.program == ()
            np.testing.assert_array_equal(observations[index], env.envs[index]._encoder.encode(env.envs[index]._state))


def test_synchronised_environments_end_together(space):
    env, judge = make(space, 6, synchronise=True)
    rng = np.random.default_rng(0)
    env.reset()
    ends = 0
    for _ in range(60):
        _, rewards, dones, infos = env.step(random_actions(env, rng))
        assert dones.all() or not dones.any()
        waiting = [info.get("waiting", False) for info in infos]
        for index in np.flatnonzero(waiting):
            mask = get_action_masks(env)[index]
            assert mask[0]
            assert mask.sum() == 1
        if dones.all():
            ends += 1
            assert len(judge.batches[-1]) == 6
            assert sorted(rewards) == sorted(judge.paid[id(info["kernel"])] for info in infos)
            assert not any(waiting)
    assert ends >= 5
    assert len(judge.batches) == ends


def test_masks_are_offered_as_maskable_ppo_asks_for_them(space):
    env, _ = make(space, 3)
    env.reset()
    assert is_masking_supported(env)
    assert get_action_masks(env).shape == (3, len(space.actions))


def test_illegal_actions_end_an_episode_without_a_judge(space):
    env, judge = make(space, 2)
    env.reset()
    illegal = [int(np.flatnonzero(~mask)[0]) for mask in get_action_masks(env)]
    _, rewards, dones, infos = env.step(np.array(illegal))
    assert dones.all()
    assert not judge.batches
    assert rewards.tolist() == [env.envs[0].reward_range[0]] * 2
    assert all("illegal_action" in info for info in infos)


def test_environments_that_judge_themselves_are_refused(space):
    with pytest.raises(ConfigError, match="defer=True"):
        BatchedVecEnv([lambda: KernelConstructionEnv(space=space)], Judge())


def test_same_seed_same_rollout(space):
    def rollout():
        env, _ = make(space, 4)
        rng = np.random.default_rng(5)
        seen = [env.reset()]
        for _ in range(15):
            observations, rewards, _, _ = env.step(random_actions(env, rng))
            seen += [observations, rewards]
        return seen

    for one, other in zip(rollout(), rollout(), strict=True):
        np.testing.assert_array_equal(one, other)
