"""What ``layerprobe extract`` and ``layerprobe layers`` are told."""

from __future__ import annotations

import re
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, model_validator
from typing_extensions import Self

from layerprobe.settings.base import (
    AnyPath,
    ClassCount,
    Count,
    FromDigits,
    Pixels,
    RefusedError,
    Seed,
    Settings,
)
from layerprobe.settings.data import DataSettings
from layerprobe.settings.flags import Flag, Part
from layerprobe.settings.layer_choice import NamedLayers
from layerprobe.settings.machine import DeviceSettings, Gigabytes, Workers
from layerprobe.settings.model import ModelSettings
from layerprobe.settings.samples import SpectrumSamples

Split = Literal["train", "test", "all"]


def _pool(text: str) -> str:
    if not re.fullmatch(r"(avg|max):[1-9]\d*", text):
        raise ValueError("avg:H or max:H, with H pixels of height and width")
    return text


class StoredFeaturesSettings(Settings):
    """Which layers are kept, and what of their features."""

    panel: ClassVar[str] = "Layers"

    layers: Annotated[NamedLayers | None, Flag(default="all")] = None
    """The layers to keep, separated by commas: names, globs (layer3.*), indices, ranges (3-7, 3:8, -4:), every:4 or
    all."""
    dtype: Literal["float32", "float16"] = "float32"
    """The number type of the features in the file."""
    pool: Annotated[
        Annotated[str, AfterValidator(_pool)] | None,
        Flag(metavar="avg:H|max:H", default="only maps of more than 262,144 features are averaged"),
    ] = None
    """Average-pool or max-pool feature maps that are larger than H x H down to that size."""
    tokens: Literal["cls", "mean", "all"] = "all"
    """The tokens of a transformer to keep in the file: the class token, the mean of the patch tokens, or all."""
    project: Annotated[int | None, Field(ge=1), Flag(default="no projection")] = None
    """Project layers with more features than this number to so many, by a random projection."""


class LayersSettings(StoredFeaturesSettings):
    """Whose layers are printed, and how many images their sizes are given for."""

    model: Annotated[str, Field(min_length=1), Flag(panel="Model", metavar="NAME")]
    """The network: timm:NAME, torchvision:NAME, cifar:NAME, open_clip:NAME, transformers:NAME or FILE.py:callable."""
    num_classes: Annotated[ClassCount | None, Flag(panel="Model", default="the architecture's")] = None
    """The number of classes of the network's classifier. With 0 the network has no classifier."""
    image_size: Annotated[Pixels | None, Flag(panel="Model", default="the network's")] = None
    """The height and width of the network's input in pixels."""
    prefix_tokens: Annotated[
        int | None, Field(ge=0), Flag(panel="Model", default="as many as the network declares")
    ] = None
    """The number of tokens before the patch tokens: the class token, which comes first, and registers."""
    samples: Annotated[Count, Flag(panel="Data")] = 5000
    """The number of images for which the size of the file is given."""


class ExtractSettings(StoredFeaturesSettings, DeviceSettings):
    """What is extracted, and to where."""

    model: Annotated[ModelSettings, Part(without=("adapt",))]
    """The network."""
    data: Annotated[DataSettings, Part()]
    """The images."""
    output: Annotated[AnyPath, Flag(short="-o", panel="Output", metavar="FILE")]
    """The HDF5 file to write."""
    split: Annotated[Split, Flag(panel="Data")] = "train"
    """The part of the data set to take images from."""
    samples: Annotated[
        Count | Literal["all"] | None,
        FromDigits,
        Flag(panel="Data", metavar="INT|all", default="5000, or what there is"),
    ] = None
    """The number of images in the sample, which is class-balanced if the images have labels."""
    view: Annotated[int | None, Field(ge=1), Flag(panel="Data", default="the images as they are")] = None
    """Extract an augmented view of the images in place of the images as they are: a random crop, flip, colours and blur
    of every image. Another number is another view; `layerprobe rank --second-view` compares two of them."""
    spectrum_samples: SpectrumSamples = None
    """Compute the entropy in information from a second sample with up to so many images of every class. The paper's
    code takes 500."""
    seed: Annotated[Seed, Flag(panel="Data")] = 0
    """The seed of the sampling, of the random projection and of the augmented view."""
    stats_only: Annotated[bool, Flag(panel="Output")] = False
    """Write no features, but only the Gram matrices that `layerprobe rank` needs, which usually take less space."""
    overwrite: Annotated[bool, Flag(panel="Output", alone=True)] = False
    """Replace a file that exists."""
    amp: Annotated[bool, Flag(panel="Machine")] = False
    """Compute in 16 bits: in bfloat16 on a CPU and in float16 on a GPU."""
    batch_size: Annotated[
        int | None, Field(ge=1), Flag(panel="Machine", default="128; 32 for images above 64 pixels on a CPU")
    ] = None
    """The number of images per forward pass."""
    workers: Workers = 0
    """The number of processes that decode images."""
    memory: Gigabytes = None
    """The memory in GB that features may take with --stats-only or --spectrum-samples."""

    kept_so_far: ClassVar[str] = ""  # the extraction says it, also where something else ends it

    @property
    def takes_less_memory(self) -> tuple[str, ...]:
        """What takes less memory than these settings, the most helpful first; fields stand in angle brackets."""
        features = self.stats_only or self.spectrum_samples is not None
        found = {
            f"a smaller <batch_size>{f' than {self.batch_size}' if self.batch_size else ''}": True,
            "<amp>": not self.amp,
            "less <memory> for features": features,
            "<device> cpu": self.device != "cpu",
        }
        return tuple(words for words, helps in found.items() if helps)

    @model_validator(mode="after")
    def _a_view_has_features(self) -> Self:
        if self.view and (self.stats_only or self.spectrum_samples):
            option = "stats_only" if self.stats_only else "spectrum_samples"
            raise RefusedError(f"<view> is compared with another view by the features of both; leave <{option}> out")
        return self
