"""How an image becomes a network's input: chosen per model and data set, and applied exactly."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from layerprobe.data.image_dataset import ImageDataset
from layerprobe.records import Preprocessing
from layerprobe.settings.base import SettingsError
from layerprobe.settings.data import SQUASH, DataSettings

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DEFAULT_SIZE = 224
DEFAULT_CROP, DEFAULT_INTERPOLATION = 0.875, "bicubic"
"""timm's: of the resized image's shorter side the centre crop shows so much."""


def choose_preprocessing(
    dataset: ImageDataset,
    *,
    image_size: tuple[int, int] | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    resize: int | None = None,
    interpolation: str | None = None,
    upright: bool | None = None,
    source: str = "",
    asked: DataSettings | None = None,
) -> Preprocessing:
    """Choose the user's values, else the model's, the data set's, or those of ImageNet and timm.

    Args:
        dataset: the images, for their size and statistics.
        image_size: what the model asks for, like the six that follow.
        mean: per-channel mean on the scale [0, 1].
        std: per-channel standard deviation.
        resize: shorter side before the centre crop; None: images are resized to ``image_size``.
        interpolation: PIL filter; None: the model says nothing of how images are resized, ``resize`` included.
        upright: whether images are turned as their EXIF orientation says.
        source: where the model's values come from, for people.
        asked: what the user asks for. The model's ``resize`` is scaled along with ``image_size``.

    Raises:
        SettingsError: if the user asks for a ``resize`` below the size of the input.
    """
    asked = asked or DataSettings(name=dataset.name)
    size, size_source = _size(dataset, image_size, asked.image_size, source)
    if asked.mean is not None and asked.std is not None:
        mean, std, statistics_source = _three(asked.mean), _three(asked.std), "--mean --std"
    elif mean is not None and std is not None:
        statistics_source = source or "the model"
    elif dataset.statistics is not None:
        (mean, std), statistics_source = dataset.statistics, dataset.name
    else:
        mean, std, statistics_source = IMAGENET_MEAN, IMAGENET_STD, "ImageNet"
    if asked.image_size and resize:
        resize = round(resize * asked.image_size / image_size[0]) if image_size else None
    resize, resize_source = _resize(dataset, size, resize, interpolation is not None, asked)
    if resize_source == _TIMM:
        interpolation = interpolation or DEFAULT_INTERPOLATION
    source = f"size: {size_source}; mean and std: {statistics_source}"
    turned = next(one for one in (asked.upright, upright, True) if one is not None)
    return Preprocessing(
        image_size=size,
        mean=mean,
        std=std,
        resize=resize,
        interpolation=asked.interpolation or interpolation or "bilinear",
        source=f"{source}; resize: {resize_source}" if resize_source else source,
        upright=turned and dataset.paths is not None,
    )


_TIMM = "timm's default"


def _resize(
    dataset: ImageDataset, size: tuple[int, int], resize: int | None, model_says: bool, asked: DataSettings
) -> tuple[int | None, str]:
    """The shorter side before the crop, and who says so; empty: the model, or images are small and of one size."""
    if asked.resize is not None:
        if asked.resize < max(size):
            raise SettingsError(
                f"<data.resize> is at least the size of the input, {max(size)}, not {asked.resize}: the centre crop "
                "would have black borders; raise it, or lower <data.image_size>"
            )
        return asked.resize, "--resize"
    if asked.crop == SQUASH:
        return None, "--crop"
    if isinstance(asked.crop, float):
        return math.floor(max(size) / asked.crop), "--crop"
    if model_says or dataset.native_size is not None or dataset.squares:
        return resize, ""
    return math.floor(max(size) / DEFAULT_CROP), _TIMM


def _size(
    dataset: ImageDataset, size: tuple[int, int] | None, override: int | None, source: str
) -> tuple[tuple[int, int], str]:
    if override:
        return (override, override), "--image-size"
    if size and (dataset.native_size is None or size != (dataset.native_size, dataset.native_size)):
        return size, source or "the model"
    if dataset.native_size:
        return (dataset.native_size, dataset.native_size), "the images"
    return (DEFAULT_SIZE, DEFAULT_SIZE), "default"


def _three(values: tuple[float, ...]) -> tuple[float, ...]:
    return values * 3 if len(values) == 1 else values


def to_pixels(image: Image.Image, preprocessing: Preprocessing) -> Tensor:
    """Resize and crop an RGB image; an image that already has the size is left exactly as it is.

    Returns:
        (3, height, width) uint8.
    """
    height, width = preprocessing.image_size
    filter = Image.Resampling[preprocessing.interpolation.upper()]
    if preprocessing.resize is not None:
        image = _centre_crop(_shorter_side(image, preprocessing.resize, filter), height, width)
    if image.size != (width, height):
        image = image.resize((width, height), filter)
    return torch.from_numpy(np.array(image, dtype=np.uint8)).permute(2, 0, 1).contiguous()


def _shorter_side(image: Image.Image, target: int, filter: Image.Resampling) -> Image.Image:
    width, height = image.size
    shorter = min(width, height)
    size = (int(target * width / shorter), int(target * height / shorter))
    return image if size == image.size else image.resize(size, filter)


def _centre_crop(image: Image.Image, height: int, width: int) -> Image.Image:
    """The middle of an image; what lies outside it is black."""
    left, top = _margin(image.width, width), _margin(image.height, height)
    return image.crop((left, top, left + width, top + height))


def _margin(length: int, wanted: int) -> int:
    """What is cut off before the middle; negative: what is put there. Rounded as torchvision's CenterCrop does."""
    return round((length - wanted) / 2.0) if length >= wanted else -((wanted - length) // 2)


def normalize(pixels: Tensor, preprocessing: Preprocessing) -> Tensor:
    """``(pixels / 255 - mean) / std`` on the pixels' device.

    Args:
        pixels: (batch, 3, height, width) uint8.
        preprocessing: for its mean and standard deviation.

    Returns:
        (batch, 3, height, width) float32, what torchvision's ``ToTensor`` and ``Normalize`` give.
    """
    mean, std = (_per_channel(tuple(values), pixels.device) for values in (preprocessing.mean, preprocessing.std))
    return pixels.float().div_(255).sub_(mean).div_(std)


@lru_cache(maxsize=64)
def _per_channel(values: tuple[float, ...], device: torch.device) -> Tensor:
    """(3, 1, 1) on a device; copied there once, since a GPU would be waited for every time."""
    return torch.tensor(values, device=device)[:, None, None]
