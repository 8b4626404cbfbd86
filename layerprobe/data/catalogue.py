"""The augmentations of training images, by name, without importing PyTorch."""

from __future__ import annotations

from layerprobe.catalogue import Catalogue, Entry

NONE = "none"

AUGMENTATIONS = Catalogue(
    "augmentation",
    (
        Entry(NONE, "none", "images as they are", "layerprobe.data.augmentation:unchanged"),
        Entry(
            "crop-flip",
            "crop and flip",
            "a random crop with a border of an eighth of the image, and a horizontal flip",
            "layerprobe.data.augmentation:crop_flip",
        ),
        Entry(
            "trivial",
            "TrivialAugmentWide",
            "one random operation of random strength per image (TrivialAugmentWide)",
            "layerprobe.data.augmentation:trivial",
        ),
    ),
)
"""Every augmentation: a function of the pixels and of random draws, drawn anew for every image and epoch."""
