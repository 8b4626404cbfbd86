"""Which images, and how they become a network's input."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Self

from layerprobe.data.catalogue import DATASETS
from layerprobe.settings.base import AnyPath, Number, Pixels, Positive, RefusedError, Separated, Settings
from layerprobe.settings.flags import Flag


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

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, values: Any) -> Any:
        return {"name": values} if isinstance(values, str) else values

    @model_validator(mode="after")
    def _both_or_neither(self) -> Self:
        if (self.mean is None) != (self.std is None):
            raise RefusedError("<mean> and <std> go together: give both or neither")
        return self
