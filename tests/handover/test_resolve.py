import json
import shutil
from pathlib import Path

import pytest

from canvas_rl import zoo
from canvas_rl.errors import CanvasError, ConfigError, FormatError, GraphError, UnknownNameError
from canvas_rl.evaluation.subject import Place
from canvas_rl.handover import parse_site, resolve_kernel
from canvas_rl.handover.card import describe_convolution
from canvas_rl.kernels.sampling import DEFAULT_SITES
from canvas_rl.symbolic.site import ReferenceConv, Site

RUN = Path(__file__).resolve().parents[2] / "experiments" / "results" / "ppo_resnet18_cpu"


def test_a_name_of_the_zoo_is_a_kernel_at_a_resnets_sites():
    known = resolve_kernel("bottleneck")
    assert known.pack == zoo.pack("bottleneck")
    assert tuple(place.site for place in known.places) == DEFAULT_SITES
    assert known.measurement is None


def test_a_name_of_the_zoo_is_built_for_the_sites_asked_for():
    known = resolve_kernel("depthwise_conv3x3", [Site(10, 6)])
    assert known.pack.graph.spatial_dims == 1
    assert known.places == (Place(Site(10, 6), ReferenceConv()),)


def test_a_recorded_run_brings_its_sites_and_figures():
    known = resolve_kernel(str(RUN))
    assert [place.site for place in known.places] == list(DEFAULT_SITES)
    assert known.measurement.kernel == known.pack.graph.hash
    assert known.reference.kernel == "reference"
    assert resolve_kernel(str(RUN / "kernel.py")) == known


def test_a_runs_kernel_is_called_after_the_run(tmp_path, monkeypatch):
    best = shutil.copytree(RUN, tmp_path / "runs" / "mine" / "best")
    (best / "kernel.json").write_text(json.dumps(resolve_kernel(str(RUN)).pack.graph.to_json()))
    monkeypatch.chdir(tmp_path)
    assert resolve_kernel("runs/mine").origin == "the best kernel of runs/mine"
    assert resolve_kernel("runs/mine/best/kernel.json").origin == "the best kernel of runs/mine"
    monkeypatch.chdir(tmp_path / "runs" / "mine")
    assert resolve_kernel("best").origin == f"the best kernel of {best.parent}"


def test_other_sites_leave_the_runs_figures_out():
    known = resolve_kernel(str(RUN), [Site(64, 56, 56), Site(16, 7, 7)])
    assert known.measurement is None
    assert len(known.places) == 2
    same = resolve_kernel(str(RUN), DEFAULT_SITES)
    assert same.measurement is not None


def run_with(folder: Path, change) -> str:
    shutil.copytree(RUN, folder)
    metrics = json.loads((folder / "metrics.json").read_text())
    change(metrics)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return str(folder)


def test_what_was_replaced_is_read_or_told_from_its_weights(tmp_path):
    places = [[[64, 56, 56], 5, 64], [[128, 28, 28], 3, 1], [[256, 14, 14], 3, 1], [[512, 7, 7], 3, 1]]
    written = resolve_kernel(run_with(tmp_path / "new", lambda metrics: metrics.update(places=places)))
    assert written.places[0] == Place(Site(64, 56, 56), ReferenceConv(5, 64))

    def depthwise(metrics):
        del metrics["places"]  # as in runs of older versions
        metrics["reference"]["sites"][0]["params"] = 49 * 64

    guessed = resolve_kernel(run_with(tmp_path / "old", depthwise))
    assert guessed.places[:2] == (
        Place(Site(64, 56, 56), ReferenceConv(7, 64)),
        Place(Site(128, 28, 28), ReferenceConv(3, 1)),
    )


def test_figures_of_another_kernel_are_refused(tmp_path):
    def other(metrics):
        metrics["measurement"]["kernel"] = "f" * 16

    with pytest.raises(FormatError, match="figures of another kernel"):
        resolve_kernel(run_with(tmp_path / "run", other))


@pytest.mark.parametrize("part", ["measurement", "reference"])
def test_damaged_figures_are_refused(tmp_path, part):
    with pytest.raises(FormatError, match=r"metrics.json' is damaged"):
        resolve_kernel(run_with(tmp_path / "run", lambda metrics: metrics.pop(part)))


def test_a_saved_source_knows_the_sites_it_was_made_for(tmp_path):
    pack = zoo.pack("conv1x1", [(8, 4, 4), (16, 2, 2)])
    pack.save_torch_code(tmp_path / "kernel.py")
    known = resolve_kernel(str(tmp_path / "kernel.py"))
    assert known.pack == pack
    assert [place.site for place in known.places] == [Site(8, 4, 4), Site(16, 2, 2)]


@pytest.mark.parametrize(
    ("name", "error", "message"),
    [
        ("botleneck", UnknownNameError, "Did you mean 'bottleneck'"),
        ("x" * 300, UnknownNameError, "neither a file nor a known operator"),
        ("no/such/kernel.json", UnknownNameError, "neither a file nor a known operator"),
        (".", FormatError, "neither a kernel.json nor a saved kernel"),
    ],
)
def test_what_names_no_kernel_is_refused(tmp_path, monkeypatch, name, error, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        resolve_kernel(name)


def test_a_kernel_that_does_not_fit_is_refused(tmp_path):
    zoo.pack("depthwise_conv3x3", [(8, 4, 4)]).save_torch_code(tmp_path / "kernel.py")
    with pytest.raises(GraphError):
        resolve_kernel(str(tmp_path / "kernel.py"), [Site(8)])


@pytest.mark.parametrize(
    ("text", "site"),
    [("64,56,56", Site(64, 56, 56)), ("64@56x56", Site(64, 56, 56)), ("16, 128", Site(16, 128)), ("7", Site(7))],
)
def test_sites_are_read(text, site):
    assert parse_site(text) == site


@pytest.mark.parametrize("text", ["", "64x56x56", "1,2,3,4", "a,b", "1.5,2"])
def test_sites_written_otherwise_are_refused(text):
    with pytest.raises(ConfigError, match="such as 64,56,56"):
        parse_site(text)
    with pytest.raises(CanvasError):
        parse_site("0,4,4")


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (Place(Site(8, 4, 4), ReferenceConv()), "3x3 conv"),
        (Place(Site(8, 4, 4), ReferenceConv(7, 8)), "7x7 depthwise"),
        (Place(Site(8, 4, 4), ReferenceConv(5, 2)), "5x5 conv, 2 groups"),
        (Place(Site(8, 4), ReferenceConv()), "3 conv"),
        (Place(Site(8), ReferenceConv()), "linear"),
        (Place(Site(8), ReferenceConv(3, 2)), "conv, 2 groups"),
    ],
)
def test_replaced_convolutions_are_named(place, words):
    assert describe_convolution(place) == words
