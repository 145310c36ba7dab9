import numpy as np

from canvas_rl.config import SearchOptions
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.site import Site
from envs.observation import SHOWN_ACTIONS, SHOWN_TENSORS, TENSOR_FEATURES, ObservationEncoder


def states(space, seed, episodes=10):
    rng = np.random.default_rng(seed)
    for _ in range(episodes):
        state = space.start(space.draw_limits(rng))
        while not state.done:
            yield state
            state = space.step(state, space.random_action(state, rng))
        yield state


def test_observations_lie_in_the_declared_box(space):
    encoder = ObservationEncoder(space)
    for state in states(space, 0):
        assert encoder.box.contains(encoder.encode(state))


def test_every_feature_has_a_name_of_its_own(space):
    encoder = ObservationEncoder(space)
    assert len(set(encoder.names)) == len(encoder.names) == encoder.box.shape[0]


def test_features_say_what_their_names_say(space):
    encoder = ObservationEncoder(space)
    index = {name: position for position, name in enumerate(encoder.names)}
    start = space.start()
    before = encoder.encode(start)
    assert before[index["tensor 0 is input-shaped"]] == 1
    assert before[index["tensor 0 group 0 C or W exists"]] == 1
    assert before[index["tensor 0 group 0 C or W log2 size"]] == np.float32(3 / 16)
    assert before[index["tensor 1 exists"]] == 0
    assert before[index["primitives used"]] == 0
    relu = space.actions.index(next(name for name in space.actions if name.lower().startswith("relu")))
    after = encoder.encode(space.step(start, relu))
    assert after[index["primitives used"]] == np.float32(1 / 4)
    assert after[index["action -1 is ReLU"]] == 1
    assert after[index["uses of ReLU"]] == np.float32(1 / 4)


def test_different_states_of_an_episode_look_different(space):
    encoder = ObservationEncoder(space)
    seen = [encoder.encode(state).tobytes() for state in states(space, 1, episodes=1)]
    assert len(set(seen)) == len(seen)


def test_top_of_the_stack_comes_first(space):
    encoder = ObservationEncoder(space)
    index = {name: position for position, name in enumerate(encoder.names)}
    for state in states(space, 2):
        observation = encoder.encode(state)
        shown = [observation[index[f"tensor {i} exists"]] for i in range(SHOWN_TENSORS)]
        assert shown == [1.0] * len(state.stack) + [0.0] * (SHOWN_TENSORS - len(state.stack))


def test_the_last_actions_end_the_observation_the_last_one_first(space):
    encoder = ObservationEncoder(space)
    for state in states(space, 3):
        shown = encoder.encode(state)[-SHOWN_ACTIONS:] * len(space.actions)
        expected = [action + 1 for action in reversed(state.actions)] + [0] * SHOWN_ACTIONS
        assert np.round(shown).astype(int).tolist() == expected[:SHOWN_ACTIONS]


def test_tensors_come_before_the_last_actions(space):
    names = ObservationEncoder(space).names[:-SHOWN_ACTIONS]
    tensors = names[-SHOWN_TENSORS * TENSOR_FEATURES :]
    for tensor in range(SHOWN_TENSORS):
        block = tensors[tensor * TENSOR_FEATURES : (tensor + 1) * TENSOR_FEATURES]
        assert all(name.startswith(f"tensor {tensor} ") for name in block)
    assert not any(name.startswith("tensor") for name in names[: -SHOWN_TENSORS * TENSOR_FEATURES])


def test_budgets_are_shown_where_there_are_some():
    options = SearchOptions(num_primitive_range=(2, 4), flops_budget=0.5, memory_budget=20.0)
    space = SearchSpace((Site(8, 16, 16), Site(16, 8, 8)), options)
    encoder = ObservationEncoder(space)
    index = {name: position for position, name in enumerate(encoder.names)}
    assert "parameters spent" not in index
    shown = np.array([encoder.encode(space.replay(["relu", "gelu"][:count])) for count in range(3)])
    assert np.all(np.diff(shown[:, index["FLOPs spent"]]) > 0)
    assert np.allclose(shown[:, index["activations spent"]], [0, 1 / 20, 2 / 20])
