"""How much a command says, and how its results look."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from layerprobe.settings.base import AnyPath, Settings
from layerprobe.settings.flags import Flag

TableFormat = Literal["table", "json", "csv", "markdown", "latex"]
FigureWidth = Literal["column", "page"]


class DisplaySettings(Settings):
    """How much a command says."""

    panel: ClassVar[str] = "Output"

    quiet: Annotated[bool, Flag(short="-q", alone=True)] = False
    """Say no more than warnings and results."""
    verbose: Annotated[bool, Flag(short="-v", alone=True)] = False
    """Say more."""


class TableSettings(DisplaySettings):
    """The same, of a command that prints a table."""

    format: TableFormat = "table"
    """The format of the printed table."""


class FigureSettings(Settings):
    """How figures look."""

    width: Annotated[FigureWidth, Flag(panel="Figures")] = "column"
    """Their width: a column (3.4 in) or a page (7 in) of a paper."""
    style: Annotated[AnyPath | None, Flag(panel="Figures", metavar="FILE")] = None
    """A matplotlib style sheet (.mplstyle) that is laid over the figures' own style."""
