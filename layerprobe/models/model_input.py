"""What a model says of the input that it wants."""

from __future__ import annotations

from dataclasses import dataclass


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
