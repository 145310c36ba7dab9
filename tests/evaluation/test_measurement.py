import json
from dataclasses import replace

import pytest

from canvas_rl.errors import FormatError
from canvas_rl.evaluation.measurement import Measurement, SiteFigures, Status, geometric_speedup
from canvas_rl.symbolic.site import Site

SITES = (
    SiteFigures(Site(8, 4, 4), 100, 10, 50, 1e-3, 4e-3),
    SiteFigures(Site(8, 4), 100, 10, 50, 1e-3, 1e-3),
    SiteFigures(Site(8), 1, 2, 3, 2e-3, 2e-3),
)
FULL = Measurement("abc", Status.OK, "", SITES, 1.5, 0.9, 0.95, 0.94, {"device": "x"}, 3, 12.0)


@pytest.mark.parametrize("measurement", [FULL, Measurement("abc", Status.CRASHED, "killed")])
def test_json_round_trip(measurement: Measurement) -> None:
    again = Measurement.from_json(json.loads(json.dumps(measurement.to_json())))
    assert again == measurement
    assert again.wall_time_s == measurement.wall_time_s
    assert isinstance(again.status, Status)


def test_equality_ignores_wall_time_only() -> None:
    assert replace(FULL, wall_time_s=1.0) == FULL
    assert replace(FULL, quality=0.8) != FULL
    assert hash(replace(FULL, wall_time_s=1.0)) == hash(FULL)


@pytest.mark.parametrize("damage", [{"status": "splendid"}, {"sites": [{}]}, {"sites": None}, {"extra": 1}])
def test_damaged_json_is_a_format_error(damage: dict) -> None:
    with pytest.raises(FormatError, match="saved measurement"):
        Measurement.from_json(FULL.to_json() | damage)


def test_speedup_is_the_geometric_mean_over_sites() -> None:
    assert geometric_speedup(SITES[:2]) == pytest.approx(2.0)
    assert geometric_speedup([*SITES, SiteFigures(Site(8), 1, 1, 1)]) is None
    assert geometric_speedup([]) is None
