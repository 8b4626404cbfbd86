"""The settings of a run: a file's, a preset's over them, and the command's options over all."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from layerprobe.cli.options import Given
from layerprobe.settings.base import SettingsError
from layerprobe.settings.presets import recipe_of
from layerprobe.settings.run import RunSettings
from layerprobe.settings.source import SourceSettings

R = TypeVar("R", bound=RunSettings)


def run_settings(given: Given[R], source: SourceSettings) -> R:
    """The settings that a command of a run means.

    Raises:
        LayerprobeError: if a file can't be read, or a value is missing or may not stand where it does.
    """
    from layerprobe.settings.configuration import merge, read_values, settings_of

    told = dict(given.values)
    output, about = told.pop("output", None), {key: told.pop(key) for key in ("overwrite", "resume") if key in told}
    resumed = output if about.get("resume") else None
    file = source.config or _own_file(resumed)
    values = read_values(file, given.kind.command) if file else {}
    if source.preset:
        values = merge(values, recipe_of(source.preset, merge(values, told), given.kind.network_part))
    try:
        return settings_of(given.kind, merge(values, told), output, **about)
    except SettingsError as error:
        if "missing; give" not in error.message:
            raise
        if resumed and not file:
            raise SettingsError(
                f"{resumed} holds no run to continue; with <resume>, <output> must name the folder of a run"
            ) from None
        raise SettingsError(f"{error.message}, or <config> FILE") from None


def _own_file(folder: Path | None) -> Path | None:
    """The configuration of the run that is to go on."""
    file = folder / "config.yaml" if folder else None
    return file if file and file.is_file() else None
