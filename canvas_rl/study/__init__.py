"""The search as a whole: settings, session, run folder, progress, results. Documented as `canvas_rl.search`."""

from canvas_rl.study.loading import load_network, rescore
from canvas_rl.study.result import Row, SearchResult
from canvas_rl.study.running import search
from canvas_rl.study.settings import QualitySettings, RunSettings, SearchSettings, TargetSettings

__all__ = [
    "QualitySettings",
    "Row",
    "RunSettings",
    "SearchResult",
    "SearchSettings",
    "TargetSettings",
    "load_network",
    "rescore",
    "search",
]
