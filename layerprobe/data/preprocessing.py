"""How an image becomes a network's input: chosen per model and data set, and applied exactly."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from layerprobe.data.image_dataset import ImageDataset
from layerprobe.records import Preprocessing

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
DEFAULT_SIZE = 224


def choose_preprocessing(
    dataset: ImageDataset,
    *,
    image_size: tuple[int, int] | None = None,
    mean: tuple[float, ...] | None = None,
    std: tuple[float, ...] | None = None,
    resize: int | None = None,
    interpolation: str = "bilinear",
    source: str = "",
    override_size: int | None = None,
    override_mean: tuple[float, ...] | None = None,
    override_std: tuple[float, ...] | None = None,
) -> Preprocessing:
    """Choose the user's values, else the model's, the data set's, or ImageNet's.

    Args:
        dataset: the images, for their size and statistics.
        image_size: what the model asks for, like the five that follow.
        mean: per-channel mean on the scale [0, 1].
        std: per-channel standard deviation.
        resize: shorter side before the centre crop.
        interpolation: PIL filter.
        source: where the model's values come from, for people.
        override_size: what the user asks for, like the two that follow. ``resize`` is scaled along.
        override_mean: one value or three.
        override_std: one value or three, where there is a mean.
    """
    size, size_source = _size(dataset, image_size, override_size, source)
    if override_size and resize:
        resize = round(resize * override_size / image_size[0]) if image_size else None
    if override_mean is not None and override_std is not None:
        mean, std, statistics_source = _three(override_mean), _three(override_std), "--mean --std"
    elif mean is not None and std is not None:
        statistics_source = source or "the model"
    elif dataset.statistics is not None:
        (mean, std), statistics_source = dataset.statistics, dataset.name
    else:
        mean, std, statistics_source = IMAGENET_MEAN, IMAGENET_STD, "ImageNet"
    return Preprocessing(
        image_size=size,
        mean=mean,
        std=std,
        resize=resize,
        interpolation=interpolation,
        source=f"size: {size_source}; mean and std: {statistics_source}",
    )


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
    mean = torch.tensor(preprocessing.mean, device=pixels.device)[:, None, None]
    std = torch.tensor(preprocessing.std, device=pixels.device)[:, None, None]
    return pixels.float().div_(255).sub_(mean).div_(std)
