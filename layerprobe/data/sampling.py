"""Which images are drawn: class-balanced samples, and uniform ones of images without labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Sized
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
        rows: (n,) int64 rows of the data set, ascending; of ``spectrum_sample`` ascending within each class.
        per_class: images of every class; 0 where the sample isn't balanced.
        description: how it was drawn, ready for JSON.
    """

    rows: npt.NDArray[np.int64]
    per_class: int
    description: Mapping[str, Any]

    @property
    def balance(self) -> str:
        """How many images the classes have, for people."""
        if fewest := self.description.get("fewest_per_class"):
            return f"{fewest} to {self.description['most_per_class']} per class"
        return f"{self.per_class} per class" if self.per_class else str(self.description["how"])


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


def uniform_sample(images: Sized, count: int | None, seed: int) -> Sample:
    """Draw images without regard to classes, without replacement.

    Args:
        images: the data set.
        count: images in the sample; None: 5,000, or as many as there are.
        seed: of the draw.

    Raises:
        LayerprobeError: if there are not so many, or none is asked for.
    """
    requested = DEFAULT_SAMPLES if count is None else count
    drawn = min(requested, len(images)) if count is None else requested
    if not 1 <= drawn <= len(images):
        raise LayerprobeError(f"{requested} samples of {len(images)} images; ask for 1 to {len(images)}, or for 'all'")
    rows = np.sort(np.random.default_rng(seed).choice(len(images), drawn, replace=False))
    how = "uniform over all images, without replacement"
    return Sample(rows.astype(np.int64), 0, {"how": how, "requested": requested, "images": drawn, "seed": seed})


def spectrum_sample(labels: npt.NDArray[np.int64], most: int, seed: int) -> Sample:
    """Draw up to ``most`` images of every class, apart from ``balanced_sample``: the two may share images.

    It is the sample that the spectra of the classes come from. The released code of Cooper et al. (arXiv 2511.14981)
    draws it likewise, 500 of every class, and where a data set has fewer, as many as it has per class on average.

    Args:
        labels: (n,) class labels of the split.
        most: images of every class, where there are so many; of a smaller class all.
        seed: of the draw; with the seed of ``balanced_sample`` the two draws are independent.

    Returns:
        The rows class after class.
    """
    generator = np.random.default_rng([seed, 1])
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    drawn = [np.sort(generator.choice(rows, min(most, len(rows)), replace=False)) for rows in members]
    counts = [len(rows) for rows in drawn]
    description = {
        "how": f"up to {most} of every class, without replacement",
        "requested": most,
        "images": sum(counts),
        **_per_class(counts),
        "seed": seed,
    }
    same = min(counts) == max(counts)
    return Sample(np.concatenate(drawn).astype(np.int64), counts[0] if same else 0, description)


def _per_class(counts: Sequence[int]) -> dict[str, int]:
    """How many images the classes have, as a sample's description says it."""
    fewest, most = min(counts), max(counts)
    return {"per_class": fewest} if fewest == most else {"fewest_per_class": fewest, "most_per_class": most}


def reduced(sample: Sample, rows: npt.NDArray[np.int64], labels: npt.NDArray[np.int64] | None) -> Sample:
    """A sample that some images were left out of; its description counts them.

    Args:
        sample: as it was drawn.
        rows: (m,) rows of the data set that are left, in the sample's order.
        labels: (n,) class labels of the split; None: it has none.
    """
    left_out = len(sample.rows) - len(rows)
    if not left_out:
        return sample
    told = dict(sample.description)
    if labels is not None and told.keys() & {"per_class", "fewest_per_class"}:
        told = {key: value for key, value in told.items() if not key.endswith("per_class")}
        told |= _per_class(np.unique(labels[rows], return_counts=True)[1].tolist())
    told |= {"images": len(rows), "left_out": told.get("left_out", 0) + left_out}
    return Sample(rows, told.get("per_class", 0), told)


def all_rows(images: Sized) -> Sample:
    """Every image, in the data set's order."""
    return Sample(np.arange(len(images), dtype=np.int64), 0, {"how": "every image", "images": len(images)})
