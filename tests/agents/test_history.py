import numpy as np
import pytest

from agents.history import Built, History
from agents.imitation import Step
from canvas_rl.session import Outcome


def built(name, reward, actions=(1, 2)):
    return Built(name, reward, tuple(Step(np.full(3, a, np.float32), np.arange(4) == a, a) for a in actions))


def filled(size=2):
    history = History(size)
    for name, reward in (("a", 0.2), ("b", 0.5), ("c", 0.5), ("d", 0.1)):
        history.add(built(name, reward))
    return history


def test_the_best_are_kept_and_of_equal_ones_the_first():
    history = filled()
    assert [kernel.hash for kernel in history.elite] == ["b", "c"]
    assert history.rewards == {"a": 0.2, "b": 0.5, "c": 0.5, "d": 0.1}


def test_a_kernel_is_kept_once():
    history = filled()
    history.add(built("b", 0.5))
    assert [kernel.hash for kernel in history.elite] == ["b", "c"]


def test_a_kernel_without_steps_counts_for_ranks_alone():
    history = History(2)
    history.add(Built("a", 0.5, ()))
    assert history.elite == []
    assert history.rank(0.6) == 1


def test_ranks_lie_between_0_and_1_and_do_not_depend_on_the_scale():
    history = filled()
    assert [history.rank(reward) for reward in (0.1, 0.2, 0.5, 9.0)] == [0, 0.25, 0.5, 1]
    assert History(2).rank(1.0) == 0


def test_only_the_last_kernels_count_for_a_rank():
    history = History(0)
    for index in range(2000):
        history.add(built(str(index), float(index)))
    assert history.rank(1500.0) == 0.5
    assert history.elite == []


def test_a_history_begun_anew_knows_what_was_put_aside():
    history = filled()
    history.begin_anew()
    assert (history.elite, history.rewards, history.stale) == ([], {}, 0)
    again = Outcome(-1.0, repeated=True)
    assert history.learn("b", again, built("b", 0).steps), "built for the first time since"
    assert history.rewards == {"b": 0.5}, "what it earned then, not what a repeat earns"
    assert not history.learn("b", again, built("b", 0).steps)
    assert not history.learn("unheard of", again, ())
    assert history.learn("e", Outcome(0.3), built("e", 0).steps)
    assert [kernel.hash for kernel in history.elite] == ["b", "e"]


def test_stale_counts_the_kernels_since_the_best():
    assert filled().stale == 2, "c is as good as b, d is worse"


def test_kernels_are_drawn_alike_however_long():
    history = History(2)
    history.add(built("long", 1.0, (1,) * 9))
    history.add(built("short", 1.0, (2,)))
    drawn = [step.action for step in history.draw(np.random.default_rng(0), 2000)]
    assert np.mean(np.array(drawn) == 2) == pytest.approx(0.5, abs=0.05)


def begun_anew():
    history = filled()
    history.begin_anew()
    history.add(built("b", 0.5))
    return history


@pytest.mark.parametrize("history", [filled(), filled(0), History(3), begun_anew()])
def test_a_restored_history_is_the_same(history):
    other = History(3)
    other.restore(history.state(), history.tensors())
    assert other.state() == history.state()
    assert [kernel[:2] for kernel in other.elite] == [kernel[:2] for kernel in history.elite]
    for left, right in zip(other.elite, history.elite, strict=True):
        for mine, theirs in zip(left.steps, right.steps, strict=True):
            np.testing.assert_array_equal(mine.observation, theirs.observation)
            np.testing.assert_array_equal(mine.mask, theirs.mask)
            assert mine.action == theirs.action
