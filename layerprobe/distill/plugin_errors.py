"""What a user's own loss, projector or alignment returned, in words for an error."""

from __future__ import annotations

from torch import Tensor


def returned(value: object) -> str:
    """What a plug-in returned, in words."""
    if isinstance(value, Tensor):
        return f"a {str(value.dtype).removeprefix('torch.')} tensor of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"
