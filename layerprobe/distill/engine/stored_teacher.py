"""A teacher's features from a file, in place of its forward passes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from layerprobe.data.fingerprint import pixel_fingerprint
from layerprobe.data.loading import Pixels
from layerprobe.errors import LayerprobeError
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.networks import Network
from layerprobe.records import Layer, Preprocessing
from layerprobe.records.feature_header import FeatureHeader


class StoredTeacherFeatures:
    """Features of the training images, read from a mapped file where they are needed.

    Args:
        file: that holds them; it stays open.
        layers: the teacher's layers.
        rows: (n,) row in the data set of every training image.

    Raises:
        LayerprobeError: if the file lacks a layer or an image, or holds a layer reduced.
    """

    def __init__(self, file: FeatureFile, layers: Sequence[Layer], rows: npt.NDArray[np.int64]) -> None:
        self._file = file
        for layer in layers:
            stored = file.layer(layer.name)
            if stored.shape != layer.shape:
                raise LayerprobeError(
                    f"{file.path} holds {layer.name} reduced to {stored.shape} ({stored.reduction}), but the method "
                    f"needs all of {layer.shape}; extract it without --pool, --tokens and --project"
                )
        self._mapped = {layer.name: file.mapped(layer.name) for layer in layers}
        places = {row: place for place, row in enumerate(file.image_rows.tolist())}
        missing = [row for row in rows.tolist() if row not in places]
        if missing:
            raise LayerprobeError(
                f"{file.path} lacks {len(missing)} of the {len(rows)} training images (row {missing[0]} is the first); "
                "extract with --samples all"
            )
        self._places = np.array([places[row] for row in rows.tolist()], dtype=np.int64)

    def features(self, positions: Tensor) -> dict[str, Tensor]:
        """Float32 features (batch, ...) by layer name, of images by their position among the training images."""
        places = self._places[positions.numpy()]
        return {name: torch.from_numpy(values[places]).float() for name, values in self._mapped.items()}

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def open_stored(path: Path, teacher: Network, layers: Sequence[Layer], images: Pixels) -> StoredTeacherFeatures:
    """A teacher's features from a file, if they are what the teacher would compute.

    Raises:
        LayerprobeError: if they are not: another teacher, data set or preprocessing made them, or the file is damaged.
    """
    file = FeatureFile(path)
    try:
        for what, theirs, ours in _compared(file.header, teacher, images):
            if theirs != ours:
                raise LayerprobeError(
                    f"{path} was made with another {what} ({theirs}) than this run's ({ours}); extract it anew, or "
                    "leave --teacher-features out"
                )
        if pixel_fingerprint(_of_file(file, images)) != file.header.pixels_sha256:
            raise LayerprobeError(
                f"the images of {images.dataset.name} are not those that {path} was made from; extract anew"
            )
        for layer in layers:
            file.check(layer.name)
        return StoredTeacherFeatures(file, layers, images.rows)
    except BaseException:
        file.close()
        raise


def _compared(header: FeatureHeader, teacher: Network, images: Pixels) -> list[tuple[str, object, object]]:
    """What must be the same, in the file and in this run."""
    theirs, ours = (_without_source(one) for one in (header.preprocessing, images.preprocessing))
    dataset = images.dataset
    return [
        ("model", header.model, teacher.name),
        ("weights hash", header.weights_sha256, teacher.weights_sha256),
        ("preprocessing", theirs, ours),
        ("view", str(header.view or "the images as they are"), "the images as they are"),
        ("split", header.split, dataset.split),
        ("number of images in the split", header.population, len(dataset)),
    ]


def _without_source(preprocessing: Preprocessing) -> str:
    """Every value that matters, for comparison and for people."""
    return f"{replace(preprocessing, source='').describe()}, {preprocessing.interpolation}"


def _of_file(file: FeatureFile, images: Pixels) -> Pixels:
    return Pixels(images.dataset, file.image_rows.numpy(), images.preprocessing)
