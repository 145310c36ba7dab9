"""What a run that has nothing left to do found."""

from typing import Any

from canvas_rl.errors import FormatError
from canvas_rl.evaluation.measurement import Measurement
from canvas_rl.rewards import make_reward
from canvas_rl.study.archive import Entry
from canvas_rl.study.folder import RunFolder
from canvas_rl.study.result import SHOWN, NetworkLatency, Row, SearchResult
from canvas_rl.study.session import used_up
from canvas_rl.study.settings import SearchSettings


def recorded_result(folder: RunFolder, settings: SearchSettings) -> SearchResult | None:
    """The result of a run as its folder has it; None where evaluations are left, or the end was not reached.

    Raises:
        FormatError: the run's state is damaged.
    """
    state = folder.load_state()
    if state is None or not {"reference", "from_store"} <= state.keys():  # runs of older versions don't keep them
        return None
    count, evaluations = len(state["asked"]), settings.run.evaluations
    if count < evaluations or state.get("ended") != count:
        return None
    try:
        rows = tuple(_row(data, state.get("networks", {})) for data in state["archive"][:SHOWN])
        reference = Measurement.from_json(state["reference"])
        totals = {
            "statuses": dict(state["statuses"]),
            "store_hits": len(state["from_store"]),
            "repeats": state["repeats"],
        }
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise FormatError(f"state.json of the run is damaged ({error!r}): start a new run") from error
    if rows and not (folder.path / "best" / "metrics.json").exists():
        return None
    reason = f"{used_up(count, evaluations)}, and nothing was changed: ask for more evaluations to go on"
    earned = make_reward(settings.run.reward)(reference, reference)
    return SearchResult(folder.path, rows, reference, reason, {"evaluations": count, **totals}, earned)


def _row(data: dict[str, Any], networks: dict[str, Any]) -> Row:
    entry = Entry.from_json(data)
    network = networks.get(entry.graph.hash)
    return Row(entry, network and NetworkLatency(float(network["latency_s"]), float(network["reference_latency_s"])))
