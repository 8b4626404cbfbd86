"""``layerprobe report``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from layerprobe.cli import options
from layerprobe.cli.reporter import Reporter

EXAMPLES = """Examples:

layerprobe report grid/

layerprobe report grid/ --output paper/figures --width column --format latex > table.tex
"""


def report(
    grid: Annotated[Path, typer.Argument(help="The folder of a grid of compare or validate.", show_default=False)],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the report  [default: report/ in the grid's]")
    ] = None,
    width: options.Width = "page",
    style: options.Style = None,
    format: options.Format = "table",
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Tables, figures and one HTML page of a grid of distillations, finished or not.

    A report that lies there already is replaced; anything else is left alone.
    """
    from layerprobe.experiments.grid.results import read_grid
    from layerprobe.experiments.validation.results import read_validation
    from layerprobe.report.figures.style import figure_width
    from layerprobe.report.grid.report import check_report, write_report
    from layerprobe.report.grid.tables import grid_table
    from layerprobe.report.tables.table import check_format

    check_format(format)
    inches, folder = figure_width(width), output or grid / "report"
    check_report(folder)
    results = read_grid(grid)
    with Reporter(quiet, verbose) as reporter:
        files = write_report(results, folder, read_validation(grid), inches, style)
        reporter.show(grid_table(results), format)
        reporter.wrote(files)
