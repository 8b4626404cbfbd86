"""Tells a data set that changed under its name from the one that it was."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from layerprobe.data.loading import Pixels, batches, make_loader

_PROBES = 16


def probes(count: int) -> npt.NDArray[np.int64]:
    """Positions of the images that the hash of so many is taken of, evenly spread."""
    return np.unique(np.linspace(0, count - 1, _PROBES, dtype=np.int64))


def pixel_fingerprint(images: Pixels) -> str:
    """Hash of the pixels of some images, evenly spread.

    Raises:
        LayerprobeError: if one of them can't be read.
    """
    probe = Pixels(images.dataset, images.rows[probes(len(images))], images.preprocessing)
    digest = hashlib.sha256()
    for batch in batches(make_loader(probe, _PROBES)):
        digest.update(batch.pixels.numpy().tobytes())
    return digest.hexdigest()
