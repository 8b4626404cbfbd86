"""How an image becomes a network's input."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import AfterValidator

from layerprobe.records.fields import Above0, Flag, Number, Positive, Text

Interpolation = Literal["nearest", "box", "bilinear", "hamming", "bicubic", "lanczos"]
"""Names of Pillow's filters."""
_Channels = TypeVar("_Channels", bound="tuple[float, ...]")


def _filter(name: str) -> str:
    if name not in get_args(Interpolation):
        raise ValueError(f"one of {', '.join(get_args(Interpolation))}")
    return name


def _one_or_three(values: _Channels) -> _Channels:
    if len(values) not in (1, 3):
        raise ValueError("a list of one number or three")
    return values


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes a network's input.

    Attributes:
        image_size: height and width of the input in pixels.
        mean: per-channel mean that is subtracted, on the scale where pixels lie in [0, 1].
        std: per-channel standard deviation that is divided by.
        resize: the shorter side is resized to this many pixels before the centre crop; None: images that
            aren't ``image_size`` are resized to it directly, others are left exactly as they are.
        interpolation: name of a PIL filter, such as ``bilinear`` or ``bicubic``.
        upright: whether images are turned first as their EXIF orientation says. Files of earlier versions, which do not
            say, were made without.
        source: why these values were chosen, for people.
    """

    image_size: tuple[Positive, Positive]
    mean: Annotated[tuple[Number, ...], AfterValidator(_one_or_three)]
    std: Annotated[tuple[Above0, ...], AfterValidator(_one_or_three)]
    resize: Positive | None = None
    interpolation: Annotated[Text, AfterValidator(_filter)] = "bilinear"
    source: Text = ""
    upright: Flag = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: of images that are not turned those that earlier versions gave."""
        values = {
            **asdict(self),
            "image_size": list(self.image_size),
            "mean": list(self.mean),
            "std": list(self.std),
        }
        if not self.upright:
            del values["upright"]
        return values

    def describe(self) -> str:
        """One line for people."""
        height, width = self.image_size
        resize = f"resize {self.resize} ({self.interpolation}), crop " if self.resize else ""
        upright = "upright by EXIF, " if self.upright else ""
        mean, std = (" ".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        source = f" ({self.source})" if self.source else ""
        return f"{upright}{resize}{height}x{width} pixels, mean {mean}, std {std}{source}"
