"""What ``layerprobe report`` is told."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator
from typing_extensions import Self

from layerprobe.settings.base import AnyPath, Listed, RefusedError
from layerprobe.settings.code import CodeSettings
from layerprobe.settings.display import FigureSettings, FigureWidth
from layerprobe.settings.flags import Flag


class ReportSettings(FigureSettings, CodeSettings):
    """What is reported on, and where the report goes."""

    sources: Annotated[tuple[AnyPath, ...], Listed, Field(min_length=1), Flag(argument=True, metavar="FILE|FOLDER...")]
    """A feature file or a ranking; several of them, to compare networks; the folder of a run; or that of a grid of
    `layerprobe compare` or `validate`."""
    output: Annotated[AnyPath | None, Flag(short="-o", panel="Output", metavar="DIR", default="beside the source")] = (
        None
    )
    """The folder for the report."""
    overwrite: Annotated[bool, Flag(panel="Output", alone=True)] = False
    """Replace the page of another network or run."""
    study: Annotated[AnyPath | None, Flag(panel="Output", metavar="DIR")] = None
    """Also pack the grid into this folder as a study: the grid file, one table of all runs, and the rankings."""
    width: Annotated[FigureWidth, Flag(panel="Figures")] = "page"
    """The width of the figure files of a grid: a column (3.25 in) or a page (6.75 in) of a paper."""
    caption: Annotated[bool, Flag(panel="Figures", alone=True)] = False
    """Write a caption above each figure of a grid. The page has the captions in any case."""

    @model_validator(mode="after")
    def _study_is_of_one_grid(self) -> Self:
        if self.study and len(self.sources) > 1:
            raise RefusedError(f"<study> packs one grid, not {len(self.sources)} files; leave it out, or name one grid")
        return self
