"""Libraries that only some networks need, imported when one of these is named."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from layerprobe.plugins import one_line
from layerprobe.settings.base import SettingsError


def import_extra(library: str, extra: str, what: str) -> Any:
    """A library of an optional extra.

    Args:
        library: its name, as it is imported.
        extra: of ours that installs it.
        what: needs it, for the message.

    Raises:
        SettingsError: if it can't be imported.
    """
    try:
        return import_module(library)
    except ImportError as error:
        raise SettingsError(
            f"{what} needs {library}, which can't be imported ({one_line(error)}); `pip install 'layerprobe[{extra}]'`"
        ) from error


def refuse_classes(name: str, num_classes: int | None) -> None:
    """Refuse to give a tower a classifier.

    Raises:
        SettingsError: if it is to have classes.
    """
    if num_classes:
        raise SettingsError(f"{name} is a tower without a classifier, and gets none; give <num_classes> 0")
