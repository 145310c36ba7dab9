"""What TensorBoard shows of a run, read back from its event files."""

import io
import time
from collections import Counter

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import STATUS_SUCCESS

from canvas_rl.study import Row, SearchSettings
from canvas_rl.study.axes import Axes, Figures
from canvas_rl.study.board import Board
from canvas_rl.study.front_figure import draw_front
from canvas_rl.study.hyperparameters import METRICS, compared
from canvas_rl.study.result import NetworkLatency

FRONT, REFERENCE = (0x1F, 0x5F, 0xA8), (0xC2, 0x41, 0x0C)


def read(folder):
    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 0, "tensors": 0})
    accumulator.Reload()
    return accumulator


def scalars(accumulator, tag):
    return [(event.step, round(event.value, 3)) for event in accumulator.Scalars(tag)]


def test_skipped_kernels_are_no_failures(tmp_path, monkeypatch):
    board = Board(tmp_path)
    shown = {}
    monkeypatch.setattr(board, "scalar", lambda name, value, step: shown.__setitem__(name, value))
    board.counts(Counter(ok=2, skipped=5, crashed=3, not_finite=1), 0, 0, 11)
    board.close()
    assert shown["search/failures"] == 4
    assert shown["search/skipped"] == 5
    assert {name for name in shown if name.startswith("failures/")} == {"failures/crashed", "failures/not_finite"}


def test_runs_can_be_compared_by_their_settings(tmp_path):
    board = Board(tmp_path)
    settings = SearchSettings.of(agent="genetic", seed=3, kernel_sizes=(3,), run_dir="somewhere", flops_budget=0.25)
    board.settings(settings)
    board.close()
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == []  # in the run itself
    content = read(tmp_path).PluginTagToContent("hparams")
    experiment = metadata.parse_experiment_plugin_data(content[metadata.EXPERIMENT_TAG])
    start = metadata.parse_session_start_info_plugin_data(content[metadata.SESSION_START_INFO_TAG])
    assert [metric.name.tag for metric in experiment.metric_infos] == list(METRICS)
    assert {info.name for info in experiment.hparam_infos} == set(start.hparams) == set(compared(settings))
    assert {info.name for info in experiment.hparam_infos if info.differs} == {
        "agent",
        "seed",
        "model",
        "dataset",
        "space",
    }
    assert start.hparams["agent"].string_value == "genetic"
    assert start.hparams["seed"].number_value == 3
    assert start.hparams["channels_last"].string_value == "false"
    assert start.hparams["warm_start"].string_value == "none"
    assert start.hparams["space"].string_value == "kernel_sizes=3 flops_budget=0.25"
    assert not {"run_dir", "resume", "workers", "evaluations"} & set(start.hparams)
    assert compared(SearchSettings())["space"] == "default"


def test_the_compared_figures_are_those_of_the_run(tmp_path, entries):
    board = Board(tmp_path, reference=0.9)
    board.settings(SearchSettings())
    board.best(entries[0], 4)
    board.front(entries[:2], 0.7, [Figures(2.0, 0.5)], 4)
    rows = [Row(entries[0], NetworkLatency(1e-3, 3e-3))]
    board.final(rows, entries[:2], [Figures(2.0, 0.5)], 6)
    board.end()
    board.close()
    found = read(tmp_path)
    assert set(METRICS) <= set(found.Tags()["scalars"])
    assert scalars(found, "final/evaluations") == [(6, 6.0)]
    assert scalars(found, "final/network_speedup") == [(6, 3.0)]
    assert [event.step for event in found.Images("pareto/front")] == [4, 6]  # at the end with all that was measured
    assert metadata.SESSION_END_INFO_TAG in found.PluginTagToContent("hparams")


def test_a_run_that_goes_on_is_not_over(tmp_path, entries):
    for _ in range(2):
        board = Board(tmp_path)
        board.settings(SearchSettings())
        board.flush()
        assert metadata.SESSION_END_INFO_TAG not in read(tmp_path).PluginTagToContent("hparams")
        board.end()
        board.close()
        content = read(tmp_path).PluginTagToContent("hparams")
        end = metadata.parse_session_end_info_plugin_data(content[metadata.SESSION_END_INFO_TAG])
        assert end.status == STATUS_SUCCESS
        assert metadata.SESSION_START_INFO_TAG in content


def test_the_table_and_the_families_are_those_of_the_archive(tmp_path, entries):
    board = Board(tmp_path)
    board.archive([], 1)
    board.archive(entries[:1], 2)
    board.archive(entries[:1], 3)
    board.archive(entries, 4)
    board.close()
    found = read(tmp_path)
    tables = found.Tensors("best/kernels/text_summary")
    assert [event.step for event in tables] == [2, 4]
    lines = tables[-1].tensor_proto.string_val[0].decode().splitlines()
    assert lines[0] == "| rank | kernel | speedup | quality | FLOPs | parameters | primitives | reward |"
    first = entries[0].graph
    assert lines[2] == f"| 1 | {first.hash[:8]} | 2.00x | 0.500 | - | - | {first.primitive_count} | 0.750 |"
    assert len(lines) == 2 + len(entries)
    for family in {name for entry in entries for name in entry.graph.families}:
        count = sum(family in entry.graph.families for entry in entries)
        values = dict(scalars(found, f"families/{family}"))
        assert values.pop(4) == round(count / len(entries), 3)
        assert values == ({2: 1.0} if family in first.families else {})


def test_a_family_that_is_gone_falls_to_nothing(tmp_path, entries):
    one, other = next((a, b) for a in entries for b in entries if set(a.graph.families) - set(b.graph.families))
    board = Board(tmp_path)
    board.archive([one], 1)
    board.archive([other], 2)
    board.close()
    (gone, *_) = set(one.graph.families) - set(other.graph.families)
    assert scalars(read(tmp_path), f"families/{gone}") == [(1, 1.0), (2, 0.0)]


def test_a_resumed_run_goes_on_in_the_same_curves(tmp_path, entries):
    first = Board(tmp_path)
    first.settings(
        SearchSettings(),
    )
    for step in range(1, 6):
        first.counts(Counter(ok=step), 0, 0, step)  # killed when only three were saved
    first.close()
    time.sleep(1.1)  # event files are read in the order of their names, which have the second in them
    second = Board(tmp_path, start=3)
    second.settings(SearchSettings())
    for step in range(4, 7):
        second.counts(Counter(ok=step), 0, step, step)
    second.final([Row(entries[0])], [], [], 6)
    second.close()
    found = read(tmp_path)
    expected = [(1, 0.0), (2, 0.0), (3, 0.0), (4, 4.0), (5, 5.0), (6, 6.0)]
    assert scalars(found, "search/repeats") == expected
    assert scalars(found, "final/evaluations") == [(6, 6.0)]
    assert metadata.SESSION_START_INFO_TAG in found.PluginTagToContent("hparams")


def test_a_run_killed_before_its_first_state_was_saved_begins_anew(tmp_path):
    for repeats in (1, 2):
        board = Board(tmp_path, start=0)
        board.settings(SearchSettings())
        for step in (1, 2):
            board.counts(Counter(ok=step), 0, repeats, step)
        board.close()
        time.sleep(1.1)  # as above
    assert scalars(read(tmp_path), "search/repeats") == [(1, 2.0), (2, 2.0)]


def test_the_pictures_of_a_board_can_be_read(tmp_path, entries):
    board = Board(tmp_path, reference=0.9)
    board.best(entries[0], 1)
    board.front(entries[:1], 0.5, [Figures(2.0, 0.5)], 1)
    board.close()
    found = read(tmp_path)
    for tag in ("best/picture", "pareto/front"):
        (event,) = found.Images(tag)
        image = Image.open(io.BytesIO(event.encoded_image_string))
        assert image.size == (event.width, event.height)
        assert image.width > 100


def test_the_front_is_where_its_figures_are():
    measured = [Figures(0.5, 0.2), Figures(2.0, 0.9), Figures(8.0, 0.4), Figures(1.5, 0.3)]
    front = measured[1:3]
    pixels = draw_front(measured, front, 0.95, 4)
    axes = Axes([*measured, Figures(1.0, 0.95)])

    def colour(kernel):
        x, y = axes.place(kernel)
        return tuple(pixels[round(y / 2), round(x / 2)])

    assert [colour(kernel) for kernel in front] == [FRONT, FRONT]
    assert colour(Figures(1.0, 0.95)) == REFERENCE
    assert colour(measured[0]) == colour(measured[3]) == (0xB9, 0xC3, 0xCD)
    corner = Figures(2.0, 0.4)  # of the steps between the two
    assert colour(corner) == colour(Figures(4.0, 0.4)) == FRONT
    assert not np.any(np.all(draw_front(measured, front, None, 4) == REFERENCE, axis=2))
    places = [axes.place(kernel) for kernel in measured]
    assert sorted(measured) == [kernel for _, kernel in sorted(zip(places, measured, strict=True))]  # faster: right
    assert axes.place(Figures(1.0, 0.9))[1] < axes.place(Figures(1.0, 0.2))[1]  # better: above


@pytest.mark.parametrize("measured", [[Figures(1.0, 0.0)], [Figures(0.001, 0.5), Figures(4000.0, 0.5)]])
def test_axes_have_some_round_numbers_in_any_case(measured):
    axes = Axes(measured)
    assert 1 <= len(axes.qualities()) <= 8
    assert 1 <= len(axes.speedups()) <= 24
    assert draw_front(measured, measured, 0.5, 1).shape[2] == 3
