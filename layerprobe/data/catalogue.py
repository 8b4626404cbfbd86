"""Data sets and augmentations of training images, by name, without importing PyTorch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from layerprobe.catalogue import Catalogue, Entry

NONE = "none"


@dataclass(frozen=True)
class Augmentation(Entry):
    """A change of training images; ``target`` is a function of pixels and of random draws.

    Attributes:
        on_any_device: whether it works on pixels wherever they lie, so that they can stay on a GPU.
    """

    on_any_device: bool = False


AUGMENTATIONS = Catalogue(
    "augmentation",
    (
        Augmentation(NONE, "none", "images as they are", "layerprobe.data.augmentation:unchanged", on_any_device=True),
        Augmentation(
            "crop-flip",
            "crop and flip",
            "a random crop with a border of an eighth of the image, and a horizontal flip",
            "layerprobe.data.augmentation:crop_flip",
            on_any_device=True,
        ),
        Augmentation(
            "trivial",
            "TrivialAugmentWide",
            "one random operation of random strength per image (TrivialAugmentWide)",
            "layerprobe.data.augmentation:trivial",
        ),
    ),
)
"""Every augmentation: a function of the pixels and of random draws, drawn anew for every image and epoch."""

DIGITS = "digits"
HUGGING_FACE, SHARDS = "hf:", "wds:"
"""How the names of a Hugging Face dataset, and of WebDataset's tar archives, begin."""


@dataclass(frozen=True)
class DataSet(Entry):
    """How to open a data set; ``target`` is the function that opens it.

    Attributes:
        parts: keyword arguments of torchvision's class for each split of ours; empty: it has no splits.
        native_size: pixels, where all images are small squares.
        statistics: per-channel mean and standard deviation of the training images.
        note: what the user must be told.
    """

    parts: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    native_size: int | None = None
    statistics: tuple[tuple[float, ...], tuple[float, ...]] | None = None
    note: str = ""


_OPEN = "layerprobe.data.builtin:open_builtin"
_TRAIN_FLAG = {"train": [{"train": True}], "test": [{"train": False}]}
_SPLIT = {"train": [{"split": "train"}], "test": [{"split": "test"}]}

DATASETS = Catalogue(
    "data set",
    (
        DataSet(DIGITS, "digits", "scikit-learn's handwritten digits, offline", _OPEN),
        DataSet(
            "CIFAR10", "CIFAR-10", "ten classes of 32 x 32 pixels", _OPEN,
            _TRAIN_FLAG, 32, ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
        ),
        DataSet(
            "CIFAR100", "CIFAR-100", "a hundred classes of 32 x 32 pixels", _OPEN,
            _TRAIN_FLAG, 32, ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
        ),
        DataSet(
            "FashionMNIST", "Fashion-MNIST", "ten kinds of clothes", _OPEN,
            _TRAIN_FLAG, 28, ((0.2860,) * 3, (0.3530,) * 3),
        ),
        DataSet(
            "SVHN", "SVHN", "house numbers", _OPEN,
            _SPLIT, 32, ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
        ),
        DataSet(
            "EuroSAT", "EuroSAT", "land use from satellites", _OPEN, {}, 64,
            note="EuroSAT has no official split: every fifth image of a class is a test image",
        ),
        DataSet(
            "Flowers102", "Flowers-102", "kinds of flowers", _OPEN,
            {"train": [{"split": "train"}, {"split": "val"}], "test": [{"split": "test"}]},
            note="Flowers102: the training split is torchvision's train and val together",
        ),
        DataSet(
            "OxfordIIITPet", "Oxford-IIIT Pet", "breeds of cats and dogs", _OPEN,
            {"train": [{"split": "trainval"}], "test": [{"split": "test"}]},
        ),
    ),
)  # fmt: skip
"""Every data set that is known by name; a folder of class folders may stand in its place."""
