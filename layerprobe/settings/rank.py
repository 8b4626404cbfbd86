"""What ``layerprobe rank`` is told."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from layerprobe.settings.base import AnyPath, Count, Seed, Separated, Whole
from layerprobe.settings.display import FigureSettings, FigureWidth
from layerprobe.settings.flags import Flag
from layerprobe.settings.machine import DeviceSettings


class RankSettings(FigureSettings, DeviceSettings):
    """What is measured, how many layers are chosen by it, and what is drawn."""

    panel: ClassVar[str] = "Layers"

    features: Annotated[tuple[AnyPath, ...], Field(min_length=1), Flag(argument=True, metavar="FILE...")]
    """Files that `layerprobe extract` wrote, one per network."""
    top: Annotated[Count, Flag(short="-k")] = 4
    """How many layers to choose."""
    by: str = "quality"
    """The score that layers are chosen by."""
    resamples: Annotated[Whole, Field(ge=0, multiple_of=4), Flag(panel="Statistics")] = 200
    """How often the sample is drawn again for the intervals; 0: no intervals."""
    level: Annotated[float, Field(gt=0, lt=1), Flag(panel="Statistics")] = 0.9
    """Confidence level of the intervals."""
    seed: Annotated[Seed, Flag(panel="Statistics")] = 0
    """Seed of all draws."""
    statistics: Annotated[tuple[str, ...], Separated, Flag(panel="Statistics", also=("all",))] = ()
    """Further statistics, separated by commas."""
    sizes: Annotated[
        tuple[Annotated[Whole, Field(ge=2)], ...], Separated, Flag(panel="Statistics", metavar="INT,INT,...")
    ] = ()
    """Also score smaller samples of so many images per class, e.g. 10,25,50, and draw the scores against the size."""
    output: Annotated[AnyPath | None, Flag(short="-o", panel="Output", metavar="DIR", default="no figures")] = None
    """The folder for the figures."""
    figures: Annotated[tuple[str, ...], Separated, Flag(panel="Figures", also=("all",))] = ("quality",)
    """Which figures to draw, separated by commas."""
    width: Annotated[FigureWidth, Flag(panel="Figures")] = "page"
    """Their width: a column (3.4 in) or a page (7 in) of a paper."""
    ranking: Annotated[AnyPath | None, Flag(panel="Output", metavar="FILE", default="beside the features")] = None
    """The ranking file to write."""
    cache: Annotated[bool, Flag(panel="Output")] = True
    """Keep results beside the features for the next time."""
    overwrite: Annotated[bool, Flag(panel="Output", alone=True)] = False
    """Replace rankings and figures that exist."""
