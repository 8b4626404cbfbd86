"""What a command that trained a network shows at its end."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from layerprobe.cli.reporter import Reporter
    from layerprobe.records import Run


def show_run(run: Run, reporter: Reporter, following: str | None = None) -> None:
    """The accuracies on stdout; the curves into the run folder, the files by name, and how to load the network."""
    from layerprobe.distill.students import snippet
    from layerprobe.report.figures.curves import curves_figure
    from layerprobe.report.figures.style import save_figure
    from layerprobe.report.tables.runs import run_table

    curves = save_figure(partial(curves_figure, run), run.folder, "curves", overwrite=True)
    reporter.show(run_table(run))
    reporter.wrote([*run.files, *curves])
    reporter.hint("in Python:\n  " + snippet(run).replace("\n", "\n  "))
    reporter.wrote([], following)
