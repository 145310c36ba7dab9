"""Pages about what was found: a report on runs, and a gallery of the known operators. Each is one file of HTML."""

from canvas_rl.report.gallery import gallery_page
from canvas_rl.report.page import report_page
from canvas_rl.report.reading import Run, Trial, read_run

__all__ = ["Run", "Trial", "gallery_page", "read_run", "report_page"]
