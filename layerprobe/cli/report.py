"""``layerprobe report``."""

from __future__ import annotations

from layerprobe.cli.options import Command
from layerprobe.cli.reporter import Reporter
from layerprobe.errors import LayerprobeError
from layerprobe.settings.display import TableSettings
from layerprobe.settings.report import ReportSettings

EXAMPLES = """
layerprobe report grid/
layerprobe report grid/ --output paper/figures --width column \\
    --format latex > table.tex
layerprobe report grid/ --study results/my-study
"""


def report(settings: ReportSettings, display: TableSettings) -> None:
    """Write tables, figures and one HTML page of a grid of distillations, finished or not.

    A report that is there already is replaced; other files in its folder stay. A study, which --study makes, is read
    like the grid's folder that it was made of.
    """
    from layerprobe.experiments.grid.results import read_grid
    from layerprobe.experiments.publish import check_study, publish_study
    from layerprobe.experiments.validation.results import read_validation
    from layerprobe.report.figures.style import WIDTHS
    from layerprobe.report.grid.report import check_report, write_report
    from layerprobe.report.grid.tables import grid_table

    grid, folder, study = settings.grid, settings.output or settings.grid / "report", settings.study
    if settings.output is None and folder.is_symlink():
        raise LayerprobeError(f"{folder} is a link, which may lead anywhere; name a folder with --output")
    check_report(folder)
    if study:
        check_study(grid, study)
    results = read_grid(grid)
    with Reporter(display) as reporter:
        files = write_report(
            results, folder, read_validation(grid, settings.allow_code), WIDTHS[settings.width], settings.style
        )
        reporter.show(grid_table(results))
        reporter.wrote([*files, *(publish_study(grid, study) if study else ())])


COMMAND = Command("report", report, EXAMPLES)
