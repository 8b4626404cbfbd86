"""What ``layerprobe validate`` is told."""

from __future__ import annotations

from typing import Annotated

from layerprobe.settings.base import AnyPath, Listed
from layerprobe.settings.compare import CompareSettings
from layerprobe.settings.flags import Flag


class ValidateSettings(CompareSettings):
    """Which scores are tested, on which grid."""

    grid: Annotated[AnyPath, Flag(argument=True, metavar="GRID")]
    """A grid file with a key `validate`."""
    score: Annotated[tuple[str, ...], Listed, Flag(metavar="FILE.py:NAME", panel="Layers")] = ()
    """A score of your own, a function of a layer's Gram matrix. Give it several times for several scores."""
