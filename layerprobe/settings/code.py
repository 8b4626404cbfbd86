"""Whether Python files that a folder names are run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from layerprobe.plugins import split_file_name
from layerprobe.settings.base import Settings, SettingsError
from layerprobe.settings.flags import Flag


class CodeSettings(Settings):
    """Whether a command that only looks at a folder may run code that it names."""

    allow_code: Annotated[bool, Flag(panel="Machine", alone=True)] = False
    """Allow running the Python file that the folder names for a network of your own (FILE.py:callable)."""


def check_code(name: str, folder: Path, allowed: bool, what: str = "the network ") -> None:
    """Refuse to run the Python file that a folder names: whoever sent the folder may have written it.

    Args:
        name: of a network or a plug-in, which may be ``FILE.py:callable``.
        folder: that names it.
        allowed: whether the user trusts the file.
        what: the name is of, for the message.

    Raises:
        SettingsError: if it is a file and not allowed.
    """
    if not allowed and split_file_name(name):
        raise SettingsError(
            f"{folder} names {what}{name}, a Python file, which would be run; read it, and give <allow_code> "
            "where you trust it"
        )
