"""Published weights, fetched where they aren't cached, and one line where they can't be had."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from layerprobe.settings.base import SettingsError

_TRIES = 2
_SECONDS = 10
"""A try ends then; the hub's own tries take over a minute together."""


@contextmanager
def fetching_weights(name: str) -> Iterator[None]:
    """Where the hub can't be reached, have libraries look into their cache alone; say in one line what fails.

    Args:
        name: of the model, such as ``timm:resnet18``.

    Raises:
        SettingsError: if the weights aren't to be had, or aren't those of the model as it is built.
    """
    unreachable = _why_hub_is_unreachable() if not name.startswith("torchvision:") else ""
    try:
        with _without_hub() if unreachable else nullcontext():
            yield
    except (OSError, RuntimeError, ValueError) as error:
        from huggingface_hub.errors import LocalEntryNotFoundError

        reason = _first_line(error)
        if unreachable and isinstance(error, LocalEntryNotFoundError):
            reason = f"they are not on this machine, and {unreachable}"
        raise SettingsError(
            f"can't load the published weights of {name!r}: {reason}; give <weights> FILE, or <weights> random for an "
            "untrained network"
        ) from error


def _why_hub_is_unreachable() -> str:
    """Why the hub gives no answer, whatever that would be; empty: it does."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session  # type: ignore[attr-defined]  # it is documented there

    reason = ""
    for attempt in range(_TRIES):
        time.sleep(attempt)
        try:
            get_session().head(constants.ENDPOINT, timeout=_SECONDS)
        except Exception as error:  # of one of several libraries, by the hub's version
            reason = f"{constants.ENDPOINT} can't be reached ({_first_line(error)})"
        else:
            return ""
    return reason


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextmanager
def _without_hub() -> Iterator[None]:
    """The hub's offline mode, which else an environment variable sets for the whole process."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
