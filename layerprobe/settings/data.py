"""Which images, and how they become a network's input."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from typing_extensions import Self

from layerprobe.data.catalogue import DATASETS, HUGGING_FACE, SHARDS
from layerprobe.records.preprocessing import Interpolation, Preprocessing
from layerprobe.settings.base import AnyPath, Number, Pixels, Positive, RefusedError, Separated, Settings
from layerprobe.settings.flags import Flag

SQUASH = "squash"
PREPROCESSING = ("image_size", "mean", "std", "resize", "crop", "interpolation", "upright")
"""The fields that say how an image becomes a network's input."""
_LATER = ("resize", "crop", "interpolation", "upright", "skip_damaged", "unlabelled", "image_column", "label_column")
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
    """a data set by its name; a folder of class folders (with or without train/ and test/) or of images without
    labels; hf:PATH or hf:NAME, a Hugging Face dataset in a folder, in Arrow or Parquet files, or of the hub; or
    wds:PATH, WebDataset's tar archives."""
    data_root: Annotated[AnyPath | None, Flag(metavar="DIR", default="data")] = None
    """The folder that holds torchvision's data sets."""
    download: bool = False
    """Download the data set if it is missing."""
    unlabelled: bool = False
    """Take the images without labels. Of a folder every image is taken, whatever folder in it the image lies in. A
    folder that holds images and no folders needs no option."""
    image_column: Annotated[str | None, Flag(metavar="NAME", default="the only one of images")] = None
    """The column of a Hugging Face dataset that holds the images."""
    label_column: Annotated[
        str | None, Flag(metavar="NAME", default="the only one of class labels; of JSON label or cls")
    ] = None
    """The column of a Hugging Face dataset, or the key of JSON in tar archives, that holds the labels."""
    image_size: Annotated[Pixels | None, Flag(default="the network's")] = None
    """The height and width of the network's input in pixels."""
    mean: Annotated[
        tuple[Number, ...] | None, Separated, AfterValidator(_one_or_three), Flag(default="the network's")
    ] = None
    """The channel means of images with values from 0 to 1, such as 0.5 or 0.485,0.456,0.406. Give --std too."""
    std: Annotated[
        tuple[Positive, ...] | None, Separated, AfterValidator(_one_or_three), Flag(default="the network's")
    ] = None
    """The channel standard deviations of images with values from 0 to 1. Give --mean too."""
    resize: Annotated[Pixels | None, Flag(default="the network's, or that of --crop")] = None
    """The length in pixels that the shorter side is resized to, before the centre is cropped to --image-size. The
    aspect ratio is kept."""
    crop: Annotated[
        Annotated[float | str, AfterValidator(_share)] | None,
        BeforeValidator(_share_or_word),
        Flag(metavar="SHARE|squash", default="the network's; 0.875 for photographs"),
    ] = None
    """The share of the resized image's shorter side that the centre crop shows, such as 0.875 or 1; it takes the place
    of --resize. With squash, height and width are resized to the input's and the aspect ratio is not kept."""
    interpolation: Annotated[Interpolation | None, Flag(default="the network's; bicubic for photographs")] = None
    """The filter for resizing images."""
    upright: Annotated[bool | None, Flag(default="on, unless a weights file of layerprobe says otherwise")] = None
    """Turn images upright as their EXIF orientation says."""
    skip_damaged: bool = False
    """Leave out images that can't be read. Finding them takes one more decoding of every image."""

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
    def _columns_of_a_dataset(self) -> Self:
        if self.image_column and not self.name.startswith(HUGGING_FACE):
            raise RefusedError("<image_column> is of Hugging Face datasets, hf:PATH; leave it out")
        if self.label_column and not self.name.startswith((HUGGING_FACE, SHARDS)):
            raise RefusedError("<label_column> is of Hugging Face datasets and tar archives; leave it out")
        if self.label_column and self.unlabelled:
            raise RefusedError("<label_column> names labels, and <unlabelled> leaves them out: give one of them")
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

    def options(self) -> dict[str, Any]:
        """Plain values of all that is not the default, without the name and the download."""
        return self.model_dump(mode="json", exclude_defaults=True, exclude={"name", "download"})

    def without_preprocessing(self) -> DataSettings:
        """The same images, however they become a network's input."""
        return self.replaced(**dict.fromkeys(PREPROCESSING))

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
