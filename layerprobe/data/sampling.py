"""Which images are drawn: class-balanced samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from layerprobe.errors import LayerprobeError

DEFAULT_SAMPLES = 5000


@dataclass(frozen=True)
class Sample:
    """Images drawn from a split.

    Attributes:
        rows: (n,) int64 rows of the data set, ascending.
        per_class: images of every class; 0 where the sample isn't balanced.
        description: how it was drawn, ready for JSON.
    """

    rows: npt.NDArray[np.int64]
    per_class: int
    description: Mapping[str, Any]


def balanced_sample(labels: npt.NDArray[np.int64], count: int | None, seed: int, num_classes: int) -> Sample:
    """Draw the same number of images of every class, without replacement.

    ``count // num_classes`` are drawn per class; a remainder is dropped, and recorded.

    Args:
        labels: (n,) class labels of the split.
        count: images in the sample; None: 5,000, or as many as the smallest class permits.
        seed: of the draw.
        num_classes: number of classes.

    Raises:
        LayerprobeError: if the smallest class has too few images, or there would be none per class.
    """
    sizes = np.bincount(labels, minlength=num_classes)
    smallest, requested = int(sizes.min()), DEFAULT_SAMPLES if count is None else count
    if smallest == 0:
        raise LayerprobeError(
            f"class {int(sizes.argmin())} (counted from 0) has no images: no sample has as many of every class, the "
            "smallest class has 0; ask for 'all'"
        )
    per_class = requested // num_classes
    if count is None:
        per_class = min(max(per_class, 1), smallest)
    if per_class <= 0:
        raise LayerprobeError(f"{requested} samples of {num_classes} classes are less than one per class; ask for more")
    if per_class > smallest:
        raise LayerprobeError(
            f"{requested} samples of {num_classes} classes need {per_class} images per class, but the smallest class "
            f"has {smallest}; ask for {smallest * num_classes} at most, or for 'all'"
        )
    generator = np.random.default_rng(seed)
    members = [np.flatnonzero(labels == label) for label in range(num_classes)]
    rows = np.sort(np.concatenate([generator.choice(rows, per_class, replace=False) for rows in members]))
    description = {
        "how": "class-balanced, without replacement",
        "requested": requested,
        "images": per_class * num_classes,
        "per_class": per_class,
        "seed": seed,
    }
    return Sample(rows.astype(np.int64), per_class, description)


def all_rows(labels: npt.NDArray[np.int64]) -> Sample:
    """Every image, in the data set's order."""
    return Sample(np.arange(len(labels), dtype=np.int64), 0, {"how": "every image", "images": len(labels)})
