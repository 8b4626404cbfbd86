"""Another view of the images of a feature file: opened, compared with the file, and brought together with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from layerprobe.errors import LayerprobeError
from layerprobe.features.hdf5.gram_file import GramFile
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.geometry.gram import NotFiniteError, gram_matrix
from layerprobe.ranking.grams import UndefinedLayerError
from layerprobe.ranking.same_images import check_images
from layerprobe.records import Gram, StoredLayer

_SAME = ("model", "weights_sha256", "precision")


def open_second_view(path: Path, source: FeatureFile | GramFile) -> FeatureFile:
    """Open the features of another view of the images of a file.

    Args:
        path: of these features.
        source: the file.

    Raises:
        LayerprobeError: if they are of another network, of other images, or of the same view, or one of the two files
            holds Gram matrices alone.
    """
    if isinstance(source, GramFile):
        raise LayerprobeError(
            f"{source.path} holds no features, which two views are compared by; extract without --stats-only"
        )
    second = FeatureFile(path)
    try:
        for key in _SAME:
            if (theirs := second.provenance[key]) != (ours := source.provenance[key]):
                raise LayerprobeError(
                    f"two views are of one network, and {path} has the {key} {theirs}, not {ours}; extract both alike"
                )
        if second.layers != source.layers:
            raise LayerprobeError(f"{path} holds other layers than {source.path}; extract both alike")
        check_images(source, second)
        if second.header.view == source.header.view:
            raise LayerprobeError(
                f"{path} and {source.path} have the same view of the images; extract one of them with another --view"
            )
    except BaseException:
        second.close()
        raise
    return second


def describe_second_view(second: FeatureFile) -> dict[str, Any]:
    """What a ranking says of it."""
    view = second.provenance.get("view")
    return {"fingerprint": second.fingerprint, **({"view": view} if view else {})}


def gram_of_both(
    source: FeatureFile | GramFile, second: FeatureFile, stored: StoredLayer, device: torch.device | None = None
) -> Gram:
    """The Gram matrix of a layer over both views: all images in the one, then all in the other.

    Args:
        source: the features of the first.
        second: those of the second, as ``open_second_view`` gives them.
        stored: the layer.
        device: where the products are taken; default: the CPU.

    Raises:
        UndefinedLayerError: if features of the second are not finite.
        LayerprobeError: if they are not what was written.
    """
    if isinstance(source, GramFile):
        raise TypeError("Gram matrices of two views don't say how they are related")
    index = stored.layer.index
    second.check(index)
    columns = (torch.cat(blocks) for blocks in zip(source.columns(index), second.columns(index), strict=True))
    labels = None if source.labels is None else source.labels.repeat(2)
    try:
        gram = gram_matrix(columns, labels, int(source.provenance["population"]), device)
    except NotFiniteError as error:
        raise UndefinedLayerError(stored, second.path, str(error)) from None
    return replace(gram, class_blocks=None)
