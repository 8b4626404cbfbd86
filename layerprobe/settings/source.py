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
    """Repeat the run of this config.yaml; other options change it."""
    preset: Annotated[str, OneOf(PRESETS)] | None = None
    """A whole recipe, over what the configuration says; other options change it."""
