"""Where the settings of a run come from, beside the options of its command."""

from __future__ import annotations

from typing import Annotated, ClassVar

from layerprobe.settings.base import AnyPath, OneOf, Settings
from layerprobe.settings.flags import Flag
from layerprobe.settings.presets import PRESETS


class SourceSettings(Settings):
    """A configuration and a preset that options are laid over."""

    panel: ClassVar[str] = "Recipe"

    config: Annotated[AnyPath | None, Flag(metavar="FILE")] = None
    """Take the settings of the run from this config.yaml, which every run writes. Other options override it."""
    preset: Annotated[str, OneOf(PRESETS)] | None = None
    """Take the training recipe from a preset. Other options override it."""
