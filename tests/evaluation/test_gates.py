"""Every gate refuses the kernel planted for it, and lets a sound one pass."""

import planted_kernels
import pytest

from canvas_rl.evaluation.gates import check_gates
from canvas_rl.evaluation.measurement import Rejection, Status
from canvas_rl.evaluation.subject import reference_module
from canvas_rl.symbolic.site import ReferenceConv, Site

SITES = [Site(4, 8, 8), Site(8, 4, 4)]


def build(kind: str):
    return planted_kernels.Subject({"kind": kind}).build


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("unbuildable", Status.BUILD_FAILED),
        ("wrong_shape", Status.WRONG_SHAPE),
        ("nan", Status.NOT_FINITE),
        ("nan_gradient", Status.NOT_FINITE),
        ("constant", Status.CONSTANT_OUTPUT),
        ("ignores_input", Status.IGNORES_INPUT),
        ("detached", Status.IGNORES_INPUT),
        ("dead_weight", Status.DEAD_WEIGHT),
        ("zero_gradient", Status.DEAD_WEIGHT),
        ("leaks_forward", Status.MIXES_SAMPLES),
        ("leaks_backward", Status.MIXES_SAMPLES),
        ("random", Status.NOT_REPEATABLE),
        ("skips", Status.SKIPS_WORK),
        ("cheat", Status.SKIPS_WORK),
        ("uninitialised", Status.UNINITIALISED),
    ],
)
def test_planted_kernel_is_refused_by_its_gate(kind: str, status: Status) -> None:
    with pytest.raises(Rejection) as caught:
        check_gates(build(kind), SITES)
    assert caught.value.status is status
    assert "site 4@8x8" in caught.value.message


@pytest.mark.parametrize("kind", ["good", "slower", "identity"])
def test_sound_kernels_pass(kind: str) -> None:
    check_gates(build(kind), SITES)


@pytest.mark.parametrize("site", [Site(8), Site(8, 16), Site(8, 6, 5)])
@pytest.mark.parametrize("groups", [1, 4])
def test_the_replaced_convolution_passes_in_every_dimension(site: Site, groups: int) -> None:
    reference = ReferenceConv(3, groups)
    check_gates(lambda place: reference_module(place, reference), [site])
    parameters = sum(weight.numel() for weight in reference_module(site, reference).parameters())
    assert parameters == reference.params(site)


def test_every_site_is_checked_and_equal_ones_once() -> None:
    seen = []

    def recording(site: Site):
        seen.append(site)
        return build("good")(site)

    check_gates(recording, [*SITES, *SITES])
    assert seen == SITES
