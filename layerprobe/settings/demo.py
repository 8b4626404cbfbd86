"""What ``layerprobe demo`` is told."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from layerprobe.settings.base import AnyPath, Count
from layerprobe.settings.flags import Flag
from layerprobe.settings.machine import DeviceSettings
from layerprobe.settings.samples import SpectrumSamples


class DemoSettings(DeviceSettings):
    """Where the demo writes, and how much it does."""

    output: Annotated[AnyPath, Flag(short="-o", panel="Output", metavar="DIR")] = Path("layerprobe-demo")
    """The folder to make."""
    seeds: Count = 3
    """The number of students per method."""
    spectrum_samples: SpectrumSamples = None
    """Take the entropy in information from a second sample, up to so many images of every class."""
    browser: Annotated[bool, Flag(panel="Output")] = True
    """Open the page that the demo ends with, where there is a screen."""
    overwrite: Annotated[bool, Flag(panel="Output", alone=True)] = False
    """Replace a folder that exists."""
