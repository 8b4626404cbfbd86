"""How an image becomes a network's input."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes a network's input.

    Attributes:
        image_size: height and width of the input in pixels.
        mean: per-channel mean that is subtracted, on the scale where pixels lie in [0, 1].
        std: per-channel standard deviation that is divided by.
        resize: the shorter side is resized to this many pixels before the centre crop; None: images that
            aren't ``image_size`` are resized to it directly, others are left exactly as they are.
        interpolation: ``bilinear`` or ``bicubic`` (or another PIL filter's name).
        source: why these values were chosen, for people.
    """

    image_size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    resize: int | None = None
    interpolation: str = "bilinear"
    source: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON; ``from_dict`` reads them back."""
        return {
            **asdict(self),
            "image_size": list(self.image_size),
            "mean": list(self.mean),
            "std": list(self.std),
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Read what ``to_dict`` wrote."""
        return cls(
            image_size=(int(values["image_size"][0]), int(values["image_size"][1])),
            mean=tuple(float(value) for value in values["mean"]),
            std=tuple(float(value) for value in values["std"]),
            resize=values.get("resize"),
            interpolation=values.get("interpolation", "bilinear"),
            source=values.get("source", ""),
        )

    def describe(self) -> str:
        """One line for people."""
        height, width = self.image_size
        resize = f"resize {self.resize}, crop " if self.resize else ""
        mean, std = (" ".join(f"{value:g}" for value in values) for values in (self.mean, self.std))
        source = f" ({self.source})" if self.source else ""
        return f"{resize}{height}x{width} pixels, mean {mean}, std {std}{source}"
