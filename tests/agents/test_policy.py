import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.maskable_ppo import POLICIES
from agents.policy import FamilyFirstDistribution, rows_of
from agents.program_policy import ProgramExtractor, parts_of
from canvas_rl.config import SearchOptions
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.site import Site
from envs.observation import SHOWN_TENSORS, ObservationEncoder

FAMILY_OF = np.array([0, 0, 0, 0, 1, 1, 2])


def probabilities(mask=None, logits=None):
    distribution = FamilyFirstDistribution(FAMILY_OF)
    distribution.proba_distribution(torch.zeros(1, 7) if logits is None else logits)
    distribution.apply_masking(None if mask is None else np.array([mask]))
    return distribution.distribution.probs[0]


def test_zero_logits_choose_families_alike_then_templates_alike():
    expected = torch.tensor([1 / 12] * 4 + [1 / 6] * 2 + [1 / 3])
    torch.testing.assert_close(probabilities(), expected)


def test_masked_templates_leave_their_weight_to_their_family():
    mask = [True, False, False, False, True, True, False]
    torch.testing.assert_close(probabilities(mask), torch.tensor([0.5, 0, 0, 0, 0.25, 0.25, 0]))


def test_a_mask_replaces_the_one_before():
    distribution = FamilyFirstDistribution(FAMILY_OF)
    distribution.proba_distribution(torch.zeros(1, 7))
    distribution.apply_masking(np.array([[True] + [False] * 6]))
    distribution.apply_masking(None)
    torch.testing.assert_close(distribution.distribution.probs[0], probabilities())


def test_logits_still_decide():
    logits = torch.tensor([[0.0, 20.0, 0, 0, 0, 0, 0]])
    assert probabilities(logits=logits)[1] > 0.99
    logits.requires_grad_()
    distribution = FamilyFirstDistribution(FAMILY_OF).proba_distribution(logits)
    distribution.log_prob(torch.tensor([0])).sum().backward()
    assert logits.grad.abs().sum() > 0


def test_entropy_ignores_masked_actions():
    distribution = FamilyFirstDistribution(FAMILY_OF)
    distribution.proba_distribution(torch.zeros(1, 7))
    distribution.apply_masking(np.array([[True, False, False, False, False, False, True]]))
    assert distribution.entropy().item() == pytest.approx(np.log(2), abs=1e-5)


def test_rows_are_the_family_files_pushes_and_outputs(space):
    rows = rows_of(space)
    assert rows.shape == (len(space.actions),)
    members = {row: {space.families[space.family_of[i]] for i in np.flatnonzero(rows == row)} for row in set(rows)}
    assert sorted(members.values(), key=str) == sorted(
        [{"FC"}, {"Convolution"}, {"Fold"}, {"Shift"}, {"ReLU"}, {"BAdd"}, {"Push"}, {"Output"}], key=str
    )


def test_activations_are_one_row():
    space = SearchSpace((Site(8, 4, 4),), SearchOptions(allowed_filter="fc,relu,abs,sin,badd,bmul"))
    rows = rows_of(space)
    of = {space.families[family]: row for family, row in zip(space.family_of, rows, strict=True)}
    assert of["ReLU"] == of["Abs"] == of["Sin"]
    assert of["BAdd"] == of["BMul"]
    assert len({of["FC"], of["ReLU"], of["BAdd"], of["Push"], of["Output"]}) == 5


@pytest.mark.parametrize("policy_type", POLICIES.values())
def test_a_fresh_policy_plays_families_alike(space, policy_type):
    torch.manual_seed(0)
    box, count = ObservationEncoder(space).box, len(space.actions)
    policy = policy_type(box, spaces.Discrete(count), lambda _: 1e-3, space=space)
    observations = np.repeat(ObservationEncoder(space).encode(space.start())[None], 4000, axis=0)
    actions, _, _ = policy(torch.as_tensor(observations), action_masks=np.ones((4000, count), dtype=bool))
    rows = rows_of(space)
    shares = np.bincount(rows[actions.numpy()], minlength=rows.max() + 1) / 4000
    np.testing.assert_allclose(shares, 1 / (rows.max() + 1), atol=0.05)


def test_actions_share_the_parts_of_their_names():
    names = ("conv(3x1,d2,C)", "conv(1x3,d2,C)", "relu", "push(0)")
    table = parts_of(names)
    shared = (table > 0).astype(int) @ (table > 0).astype(int).T
    assert shared[0, 1] == 3  # conv, d2, C
    assert shared[0, 2] == shared[2, 3] == 0
    np.testing.assert_allclose(table.sum(axis=1), 1, rtol=1e-6)
    assert len(np.unique(table, axis=0)) == len(names)


def observation_of(space, program):
    return ObservationEncoder(space).encode(space.replay(program))


def test_the_program_is_read_in_order_and_tensors_alike(space):
    torch.manual_seed(0)
    box = ObservationEncoder(space).box
    extractor = ProgramExtractor(box, parts_of(space.actions))
    assert extractor.features_dim == extractor(torch.zeros(1, *box.shape)).shape[1]
    relu, shift = "relu", "shift(0.C,+1)"
    first, second = (torch.as_tensor(observation_of(space, p)[None]) for p in ((relu, shift), (shift, relu)))
    assert not torch.allclose(extractor(first)[:, -64:], extractor(second)[:, -64:], atol=1e-3)
    twice = torch.as_tensor(observation_of(space, ("push(0)",))[None])
    embedded = extractor(twice)[:, extractor._plain : -64].reshape(SHOWN_TENSORS, -1)
    torch.testing.assert_close(embedded[0], embedded[1])
