"""Which images, and how they become a network's input."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from typing_extensions import Self

from layerprobe.data.catalogue import DATASETS
from layerprobe.records.preprocessing import Interpolation, Preprocessing
from layerprobe.settings.base import AnyPath, Number, Pixels, Positive, RefusedError, Separated, Settings
from layerprobe.settings.flags import Flag

SQUASH = "squash"
PREPROCESSING = ("image_size", "mean", "std", "resize", "crop", "interpolation", "upright")
"""The fields that say how an image becomes a network's input."""
_LATER = ("resize", "crop", "interpolation", "upright", "skip_damaged")
"""Fields that version 0.1.0 had not."""


def _share_or_word(value: Any) -> Any:
    """Text of a flag as the number that it is."""
    try:
        return value if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return value


def _share(value: float | str) -> float | str:
    if value != SQUASH and not (isinstance(value, float) and 0.01 <= value <= 1):
        raise ValueError(f"a share from 0.01 to 1, or {SQUASH}")
    return value


def _one_or_three(values: tuple[float, ...] | None) -> tuple[float, ...] | None:
    if values is not None and len(values) not in (1, 3):
        raise ValueError("one number or three, separated by commas")
    return values


class DataSettings(Settings):
    """Images as the user names them, and the user's own preprocessing of them. The name alone may stand for it."""

    panel: ClassVar[str] = "Data"

    name: Annotated[str, Field(min_length=1), Flag(metavar="NAME", names=DATASETS, others="a folder")]
    """a data set by its name, or a folder of class folders (with or without train/ and test/)."""
    data_root: Annotated[AnyPath | None, Flag(metavar="DIR", default="data")] = None
    """Folder of torchvision's data sets."""
    download: bool = False
    """Download the data set if it is missing."""
    image_size: Annotated[Pixels | None, Flag(default="the network's")] = None
    """Height and width of the input in pixels."""
    mean: Annotated[
        tuple[Number, ...] | None, Separated, AfterValidator(_one_or_three), Flag(default="the network's")
    ] = None
    """Channel means for images in [0, 1], e.g. 0.5 or 0.485,0.456,0.406; together with --std."""
    std: Annotated[
        tuple[Positive, ...] | None, Separated, AfterValidator(_one_or_three), Flag(default="the network's")
    ] = None
    """Channel standard deviations, likewise."""
    resize: Annotated[Pixels | None, Flag(default="the network's, or that of --crop")] = None
    """Pixels that the shorter side is resized to before the centre crop of --image-size, which keeps the aspect."""
    crop: Annotated[
        Annotated[float | str, AfterValidator(_share)] | None,
        BeforeValidator(_share_or_word),
        Flag(metavar="SHARE|squash", default="the network's; 0.875 for photographs"),
    ] = None
    """The same as a share: how much of the resized image's shorter side the centre crop shows, such as 0.875 or 1. Or
    squash: height and width are resized each to those of the input, whatever the aspect."""
    interpolation: Annotated[Interpolation | None, Flag(default="the network's; bicubic for photographs")] = None
    """The filter that images are resized with."""
    upright: Annotated[bool | None, Flag(default="on, unless a weights file of layerprobe says otherwise")] = None
    """Turn images as their EXIF orientation says."""
    skip_damaged: bool = False
    """Leave out images that can't be read. Every image that would be used is decoded once more to find them."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, values: Any) -> Any:
        return {"name": values} if isinstance(values, str) else values

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.mean is None) != (self.std is None):
            raise RefusedError("<mean> and <std> go together: give both or neither")
        return self

    @model_validator(mode="after")
    def _resize_or_crop(self) -> Self:
        if self.resize is not None and self.crop is not None:
            raise RefusedError("<resize> and <crop> say the same, in pixels and as a share: give one of them")
        return self

    def identity(self) -> dict[str, Any]:
        """Plain values that are compared with those of earlier versions: fields that these lacked only where used."""
        defaults = {name: field.default for name, field in type(self).model_fields.items() if name in _LATER}
        return {key: value for key, value in self.plain().items() if key not in _LATER or value != defaults[key]}

    def seen_as(self, preprocessing: Preprocessing) -> DataSettings:
        """The same images, of which every network sees what one with this preprocessing does."""
        return self.replaced(
            image_size=preprocessing.image_size[0],
            mean=preprocessing.mean,
            std=preprocessing.std,
            resize=preprocessing.resize,
            crop=SQUASH if preprocessing.resize is None else None,
            interpolation=preprocessing.interpolation,
            upright=preprocessing.upright,
        )
