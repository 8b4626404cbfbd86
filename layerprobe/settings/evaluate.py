"""What ``layerprobe evaluate`` is told."""

from __future__ import annotations

from typing import Annotated, Literal

from layerprobe.settings.base import AnyPath, Count, ImageCount
from layerprobe.settings.code import CodeSettings
from layerprobe.settings.data import PREPROCESSING, DataSettings
from layerprobe.settings.display import FigureSettings
from layerprobe.settings.extract import Split
from layerprobe.settings.flags import Flag, Part
from layerprobe.settings.machine import DeviceSettings, Workers


class EvaluateSettings(FigureSettings, DeviceSettings, CodeSettings):
    """Which network classifies which images, and where the figure goes."""

    run: Annotated[AnyPath, Flag(argument=True, metavar="RUN")]
    """The folder of a run of `layerprobe distill` or `train`."""
    data: Annotated[
        DataSettings | None, Part(defaults={"name": "the run's"}, without=(*PREPROCESSING, "skip_damaged"))
    ] = None
    """The images."""
    skip_damaged: Annotated[bool, Flag(panel="Data", default="as in the run, for the run's own images")] = False
    """Leave out images that can't be read."""
    split: Annotated[Split, Flag(panel="Data")] = "test"
    """The part of the data set to classify."""
    samples: Annotated[ImageCount, Flag(panel="Data", default="all")] = None
    """The number of images in a class-balanced sample, or 'all' for every image."""
    which: Annotated[Literal["last", "best", "latest"], Flag(panel="Model")] = "last"
    """The weights to take: those of the last epoch, of the best epoch on held-out images, or the latest of an
    unfinished run."""
    output: Annotated[AnyPath | None, Flag(short="-o", panel="Output", metavar="DIR", default="the run's")] = None
    """The folder for the confusion matrix."""
    overwrite: Annotated[bool, Flag(panel="Output", alone=True)] = False
    """Replace a figure that exists."""
    batch_size: Annotated[Count, Flag(panel="Machine")] = 128
    """The number of images per forward pass."""
    workers: Workers = 0
    """The number of processes that decode images."""
