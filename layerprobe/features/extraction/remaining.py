"""An extraction that goes on without some of its images, which were removed from their folder since, or can't be read.

The features that an unfinished file has of the others are kept.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from layerprobe.data.fingerprint import pixel_fingerprint, probes
from layerprobe.data.image_dataset import ImageDataset
from layerprobe.data.loading import Pixels
from layerprobe.data.sampling import Sample, reduced
from layerprobe.errors import LayerprobeError
from layerprobe.features.hdf5.layout import FilePlan, format_size
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.features.hdf5.resume import differences
from layerprobe.features.hdf5.writer import FeatureFileWriter
from layerprobe.records import Progress, silent

_log = logging.getLogger(__name__)

_REQUEST = ("how", "requested", "seed")
"""What of a sample's description is what was asked for, and not what came of it."""
_ROWS = 64


def remaining_samples(file: FeatureFile, dataset: ImageDataset, drawn: Sequence[Sample]) -> list[Sample]:
    """The samples of a file without the images that were removed since, where some were; else those that are drawn now.

    A sample that is drawn from fewer images has others in it, and the features of the file would be lost.

    Args:
        file: that an earlier run began.
        dataset: the images that there are now.
        drawn: from these: the sample of the features and, if there is one, that of the spectra.

    Raises:
        LayerprobeError: if removing images has moved others of the file to another split.
    """
    spectra = [(file.spectra.image_paths, "spectrum_sample")] if file.spectra else []
    stored = [(file.image_paths, "sample"), *spectra]
    described = [file.provenance[key] for _, key in stored]
    removed = "drawn_from" in described[0] or (not file.complete and len(dataset) < file.header.population)
    same = [file.provenance["dataset"], file.provenance["split"], file.classes, [*map(_request, described)]]
    now = [dataset.name, dataset.split, dataset.classes, [_request(one.description) for one in drawn]]
    if not removed or same != now or file.image_paths is None or dataset.paths is None:
        return list(drawn)
    places = {path: row for row, path in enumerate(dataset.paths)}
    return [
        _remaining(file, paths or (), about, dataset, places)
        for (paths, _), about in zip(stored, described, strict=True)
    ]


def _request(description: Mapping[str, Any]) -> list[Any]:
    return [description.get(key) for key in _REQUEST]


def _remaining(
    file: FeatureFile,
    paths: Sequence[str],
    described: Mapping[str, Any],
    dataset: ImageDataset,
    places: Mapping[str, int],
) -> Sample:
    for path in paths:
        if path not in places and os.path.lexists(Path(dataset.name) / path):
            raise LayerprobeError(
                f"{path}, of which {file.path} has features, is no image of the split {dataset.split!r} any more: "
                "since images were removed, others are every fifth of their class. Put files of the removed names "
                "back, empty ones will do, and add --skip-damaged; or --overwrite starts anew"
            )
    rows = np.array([places[path] for path in paths if path in places], dtype=np.int64)
    by_class = "up to" in described["how"]
    rows = rows[np.lexsort((rows, dataset.known_labels[rows]))] if by_class else np.sort(rows)
    whole = Sample(
        np.arange(len(paths)), 0, {**described, "drawn_from": described.get("drawn_from", file.header.population)}
    )
    return reduced(whole, rows, dataset.labels) if len(rows) < len(paths) else Sample(rows, 0, whole.description)


def has_more_images(file: FeatureFile, images: Pixels, plan: FilePlan) -> bool:
    """Whether an unfinished file is of the planned extraction, but for images that the plan no longer has.

    Args:
        file: that an earlier run began.
        images: of the plan.
        plan: of the extraction.
    """
    if file.complete or file.image_paths is None or plan.paths is None or any(differences(file, plan, of_images=False)):
        return False
    theirs = [file.provenance.get(key) or {} for key in ("sample", "spectrum_sample")]
    ours = [plan.provenance.get(key) or {} for key in ("sample", "spectrum_sample")]
    if [*map(_request, theirs)] != [*map(_request, ours)] or not any(differences(file, plan)):
        return False
    return set(plan.paths) <= set(file.image_paths) and _same_pixels(file, images)


def _same_pixels(file: FeatureFile, images: Pixels) -> bool:
    """Whether the images that tell the data set of a file from others are what they were."""
    places = {path: row for row, path in enumerate(images.dataset.paths or ())}
    rows = np.array([places.get(path, -1) for path in file.image_paths or ()], dtype=np.int64)
    if (rows[probes(len(rows))] < 0).any():
        return False
    try:
        return pixel_fingerprint(Pixels(images.dataset, rows, images.preprocessing)) == file.header.pixels_sha256
    except LayerprobeError:  # one of them can't be read any more
        return False


def go_on_without(path: Path, plan: FilePlan, progress: Progress = silent) -> None:
    """Lay an unfinished file out anew for fewer images, and copy the rows that it has of them.

    A run that is killed meanwhile leaves a file that the same command goes on with; rows that weren't copied yet are
    computed again, and so are the class blocks of the spectra.

    Args:
        path: of a file whose images are those of the plan and some more; nothing else differs.
        plan: of the new file.
        progress: told after every block of rows.

    Raises:
        LayerprobeError: if there is no room for both files.
    """
    with FeatureFile(path, unfinished=True) as old:
        free = shutil.disk_usage(path.resolve().parent).free
        if plan.size > free:
            raise LayerprobeError(
                f"{path} is written anew for {len(plan.rows)} of its {old.header.rows} images, which takes "
                f"{format_size(plan.size)}, and {format_size(free)} are free; make room, or --overwrite starts anew"
            )
        places = {path: row for row, path in enumerate(old.image_paths or ())}
        rows = np.array([places[path] for path in plan.paths or ()], dtype=np.int64)
        whole = old.written.numpy() & ~old.damaged().any(dim=1).numpy()
        _log.warning(
            "%s goes on without %d of its %d images: %d rows are kept",
            path,
            old.header.rows - len(rows),
            old.header.rows,
            whole[rows].sum(),
        )
        with FeatureFileWriter.create(path, plan, overwrite=True) as writer:
            _copy(old, rows, whole[rows], writer, progress)


def _copy(
    old: FeatureFile,
    rows: npt.NDArray[np.int64],
    whole: npt.NDArray[np.bool_],
    writer: FeatureFileWriter,
    progress: Progress,
) -> None:
    for start in range(0, len(rows), _ROWS):
        block, kept = rows[start : start + _ROWS], np.flatnonzero(whole[start : start + _ROWS])
        # Runs of rows that are there: what lies between them stays without a mark.
        for run in np.split(kept, np.flatnonzero(np.diff(kept) > 1) + 1):
            if len(run):
                features = [old.rows(stored.layer.index, block[run]).numpy() for stored in old.layers]
                writer.write(start + int(run[0]), features)
        progress("rows copied", min(start + _ROWS, len(rows)), len(rows))
