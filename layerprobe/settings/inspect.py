"""What ``layerprobe inspect`` is told."""

from __future__ import annotations

from typing import Annotated

from layerprobe.settings.base import AnyPath, Settings
from layerprobe.settings.flags import Flag


class InspectSettings(Settings):
    """Which file is read, and how thoroughly."""

    features: Annotated[AnyPath, Flag(argument=True, metavar="FILE")]
    """A file that `layerprobe extract` wrote."""
    verify: Annotated[bool, Flag(alone=True)] = False
    """Read every row and compare it with its checksum. The exit code is 2 if a row differs."""
