"""What ``layerprobe compare-layers`` is told."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator
from typing_extensions import Self

from layerprobe.geometry.catalogue import CKA, MEASURES
from layerprobe.settings.base import AnyPath, Number, OneOf, RefusedError, Seed, Whole
from layerprobe.settings.display import FigureSettings
from layerprobe.settings.flags import Flag
from layerprobe.settings.machine import DeviceSettings


class CompareLayersSettings(FigureSettings, DeviceSettings):
    """Which layers are compared, and where the figure goes."""

    first: Annotated[AnyPath, Flag(argument=True, metavar="FIRST")]
    """A file that `layerprobe extract` wrote."""
    second: Annotated[AnyPath | None, Flag(argument=True, metavar="SECOND", default="the first one again")] = None
    """A second file, with features of the same images."""
    measure: Annotated[str, OneOf(MEASURES)] = CKA
    """How two layers are compared: linear CKA; the share of nearest neighbours that they have in common; or how little
    the distances in the row's layer say of those in the column's."""
    debiased: Annotated[bool, Flag(alone=True)] = False
    """Use the unbiased estimate of CKA, for layers with many more features than there are images."""
    resamples: Annotated[Whole, Field(ge=0, multiple_of=4), Flag(panel="Statistics")] = 40
    """How often the images are resampled for the intervals of the neighbourhoods. With 0 there are no intervals; linear
    CKA has none."""
    level: Annotated[Number, Field(gt=0, lt=1), Flag(panel="Statistics")] = 0.9
    """The confidence level of the intervals."""
    seed: Annotated[Seed, Flag(panel="Statistics")] = 0
    """The seed of the resampling."""
    output: Annotated[AnyPath | None, Flag(short="-o", panel="Output", metavar="DIR", default="no figure")] = None
    """The folder for the figure."""
    overwrite: Annotated[bool, Flag(panel="Output", alone=True)] = False
    """Replace a figure that exists."""

    @model_validator(mode="after")
    def _only_cka_is_debiased(self) -> Self:
        if self.debiased and self.measure != CKA:
            raise RefusedError(f"<debiased> is an estimate of CKA, and <measure> is {self.measure}; leave one out")
        return self
