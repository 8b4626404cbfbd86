"""What a model says of the input that it wants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class ModelInput:
    """The input that a model itself asks for; None where it has no wish.

    Attributes:
        image_size: height and width in pixels.
        mean: per-channel mean that is subtracted, where pixels lie in [0, 1].
        std: per-channel standard deviation that is divided by.
        resize: pixels of the shorter side before the centre crop.
        interpolation: name of the resizing filter, e.g. ``bilinear``; None: the model says nothing of how images are
            resized, ``resize`` included.
        source: where these values stand, for people; empty where there are none.
    """

    image_size: tuple[int, int] | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    resize: int | None = None
    interpolation: str | None = None
    source: str = ""


def size_of(model: nn.Module) -> tuple[int, int] | None:
    """The attribute ``image_size`` of a network: a number of pixels, or height and width."""
    size = getattr(model, "image_size", None)
    if isinstance(size, int):
        return size, size
    return (int(size[0]), int(size[1])) if isinstance(size, (tuple, list)) and len(size) == 2 else None
