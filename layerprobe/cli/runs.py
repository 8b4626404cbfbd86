"""What a command that trained a network shows at its end."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from layerprobe.cli.reporter import Reporter
    from layerprobe.records import Run
    from layerprobe.settings.display import FigureSettings


def check_style(figures: FigureSettings) -> None:
    """Read the style sheet before a run begins, not at its end.

    Raises:
        LayerprobeError: if there is none, or it is none.
    """
    if figures.style is None:
        return
    from layerprobe.report.figures.style import paper_style

    with paper_style(figures.style):
        pass


def show_run(run: Run, reporter: Reporter, figures: FigureSettings, following: str | None = None) -> None:
    """The accuracies on stdout; the curves into the run folder, the files by name, and how to load the network."""
    from layerprobe.distill.students import snippet
    from layerprobe.report.figures.curves import curves_figure
    from layerprobe.report.figures.style import WIDTHS, save_figure
    from layerprobe.report.tables.runs import run_table

    draw = partial(curves_figure, run, WIDTHS[figures.width])
    curves = save_figure(draw, run.folder, "curves", overwrite=True, sheet=figures.style, caption=figures.caption)
    reporter.show(run_table(run))
    reporter.wrote([*run.files, *curves])
    reporter.hint("in Python:\n  " + snippet(run).replace("\n", "\n  "))
    reporter.wrote([], following)
