"""Whether two files hold the same images in the same order."""

from __future__ import annotations

import torch

from layerprobe.errors import LayerprobeError
from layerprobe.features.hdf5.gram_file import GramFile
from layerprobe.features.hdf5.reader import FeatureFile


def check_images(first: FeatureFile | GramFile, second: FeatureFile | GramFile) -> None:
    """Refuse to compare layers on different images.

    Raises:
        LayerprobeError: if the files hold other images, or the same in another order.
    """
    same = (
        first.provenance.get("split") == second.provenance.get("split")
        and torch.equal(first.image_rows, second.image_rows)
        and _same_labels(first.labels, second.labels)
        and first.image_paths == second.image_paths
    )
    if not same:
        raise LayerprobeError(
            f"{first.path} and {second.path} hold other images, or the same in another order; extract both with the "
            "same --data, --split, --samples and --seed"
        )


def _same_labels(first: torch.Tensor | None, second: torch.Tensor | None) -> bool:
    """Whether two files say the same of the classes of their images, or one of them says nothing."""
    return first is None or second is None or torch.equal(first, second)
