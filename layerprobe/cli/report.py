"""``layerprobe report``."""

from __future__ import annotations

from layerprobe.cli.options import Command
from layerprobe.cli.reporter import Reporter
from layerprobe.settings.display import ColumnSettings
from layerprobe.settings.report import ReportSettings

EXAMPLES = """
layerprobe report r56.h5
layerprobe report r56.h5 vgg19.h5 --output pages/
layerprobe report run/
layerprobe report grid/ --output paper/figures --width column \\
    --format latex > table.tex
layerprobe report grid/ --study results/my-study
"""
FIRST = ("--output", "--study", "--width", "--format", "--columns", "--overwrite")


def report(settings: ReportSettings, display: ColumnSettings) -> None:
    """Write an HTML page about a network, a run or a grid.

    The page of a feature file or a ranking shows every layer's numbers, every figure whose results `layerprobe rank`
    has kept, how to read them, and how sure they are; several files are compared. The report of a grid, finished or
    not, has its tables and figures as files, too. A page that is there already is replaced; other files stay. A study,
    which --study makes, is read like the grid's folder that it was made of.
    """
    from layerprobe.experiments.reports import report_on

    with Reporter(display) as reporter:
        written = report_on(settings, reporter.progress, reporter.choose)
        reporter.show(written.tables)
        reporter.wrote(written.files)


COMMAND = Command("report", report, EXAMPLES, FIRST)
