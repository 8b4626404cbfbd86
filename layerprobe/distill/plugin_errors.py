"""What a user's own loss, projector or alignment does wrong, in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import Tensor

from layerprobe.errors import LayerprobeError
from layerprobe.plugins import one_line


@contextmanager
def errors_in_one_line(what: str, given: str) -> Iterator[None]:
    """Report in one line what a user's code raises, and its attempt to exit.

    Args:
        what: the plug-in, such as ``the feature loss mine.py:loss``.
        given: what it was called with.

    Raises:
        LayerprobeError: in place of any other error.
    """
    try:
        yield
    except LayerprobeError:
        raise
    except SystemExit as error:
        raise LayerprobeError(
            f"{what} ends the program (SystemExit: {error.code}) for {given}; correct the file"
        ) from error
    except Exception as error:
        raise LayerprobeError(f"{what} fails for {given} ({one_line(error)}); correct the file") from error


def returned(value: object) -> str:
    """What a plug-in returned, in words."""
    if isinstance(value, Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"
