"""What ``layerprobe report`` is told."""

from __future__ import annotations

from typing import Annotated

from layerprobe.settings.base import AnyPath
from layerprobe.settings.code import CodeSettings
from layerprobe.settings.display import FigureSettings, FigureWidth
from layerprobe.settings.flags import Flag


class ReportSettings(FigureSettings, CodeSettings):
    """Which grid is reported on, and where the report goes."""

    grid: Annotated[AnyPath, Flag(argument=True, metavar="GRID")]
    """The folder of a grid of `layerprobe compare` or `validate`."""
    output: Annotated[
        AnyPath | None, Flag(short="-o", panel="Output", metavar="DIR", default="report/ in the grid's")
    ] = None
    """The folder for the report."""
    study: Annotated[AnyPath | None, Flag(panel="Output", metavar="DIR")] = None
    """Also pack the grid into this folder: its file, one table of all runs, and its rankings."""
    width: Annotated[FigureWidth, Flag(panel="Figures")] = "page"
    """Their width: a column (3.4 in) or a page (7 in) of a paper."""
