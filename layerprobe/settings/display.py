"""How much a command says, and how its results look."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from layerprobe.settings.base import AnyPath, Separated, Settings
from layerprobe.settings.flags import Flag

TableFormat = Literal["table", "json", "csv", "markdown", "latex"]
FigureWidth = Literal["column", "page"]


class DisplaySettings(Settings):
    """How much a command says."""

    panel: ClassVar[str] = "Output"

    quiet: Annotated[bool, Flag(short="-q", alone=True)] = False
    """Print only warnings and results."""
    verbose: Annotated[bool, Flag(short="-v", alone=True)] = False
    """Print more about what is done."""


class TableSettings(DisplaySettings):
    """The same, of a command that prints a table."""

    format: TableFormat = "table"
    """The format of the printed table."""


class ColumnSettings(TableSettings):
    """The same, of a command that prints a table of which columns can be chosen."""

    columns: Annotated[
        tuple[str, ...], Separated, Flag(metavar="NAME,NAME,...", default="all; in LaTeX those that a paper needs")
    ] = ()
    """The columns of the printed table, separated by commas: their headings, or their names in the CSV format, such as
    Q, quality or top1*; all stands for every column. The name of what a row shows comes with them."""


class FigureSettings(Settings):
    """How figures look."""

    width: Annotated[FigureWidth, Flag(panel="Figures")] = "column"
    """The width of figures: a column (3.25 in) or a page (6.75 in) of a paper."""
    style: Annotated[AnyPath | None, Flag(panel="Figures", metavar="FILE")] = None
    """A matplotlib style sheet (.mplstyle) that changes the style of the figures."""
    caption: Annotated[bool, Flag(panel="Figures", alone=True)] = False
    """Write a caption above each figure. Without it the caption is only in the metadata of the files."""


class PageFigureSettings(FigureSettings):
    """How figures look that are as wide as a page unless the user says otherwise."""

    width: Annotated[FigureWidth, Flag(panel="Figures")] = "page"
    """The width of figures: a column (3.25 in) or a page (6.75 in) of a paper."""
