"""``layerprobe report``."""

from __future__ import annotations

from layerprobe.cli.options import Command
from layerprobe.cli.reporter import Reporter
from layerprobe.settings.display import TableSettings
from layerprobe.settings.report import ReportSettings

EXAMPLES = """
layerprobe report grid/
layerprobe report grid/ --output paper/figures --width column \\
    --format latex > table.tex
"""


def report(settings: ReportSettings, display: TableSettings) -> None:
    """Write tables, figures and one HTML page of a grid of distillations, finished or not.

    A report that is there already is replaced; other files in its folder stay.
    """
    from layerprobe.experiments.grid.results import read_grid
    from layerprobe.experiments.validation.results import read_validation
    from layerprobe.report.figures.style import WIDTHS
    from layerprobe.report.grid.report import check_report, write_report
    from layerprobe.report.grid.tables import grid_table

    grid, folder = settings.grid, settings.output or settings.grid / "report"
    check_report(folder)
    results = read_grid(grid)
    with Reporter(display) as reporter:
        files = write_report(results, folder, read_validation(grid), WIDTHS[settings.width], settings.style)
        reporter.show(grid_table(results))
        reporter.wrote(files)


COMMAND = Command("report", report, EXAMPLES)
