import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.policy import FamilyFirstDistribution, FamilyFirstPolicy, rows_of
from canvas_rl.config import SearchOptions
from canvas_rl.space import SearchSpace
from canvas_rl.symbolic.site import Site

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


def test_a_fresh_policy_plays_families_alike():
    torch.manual_seed(0)
    policy = FamilyFirstPolicy(
        spaces.Box(0, 1, (5,), np.float32), spaces.Discrete(7), lambda _: 1e-3, family_of=FAMILY_OF
    )
    masks = np.ones((4000, 7), dtype=bool)
    actions, _, _ = policy(torch.rand(4000, 5), action_masks=masks)
    shares = np.bincount(FAMILY_OF[actions.numpy()], minlength=3) / 4000
    np.testing.assert_allclose(shares, 1 / 3, atol=0.05)
