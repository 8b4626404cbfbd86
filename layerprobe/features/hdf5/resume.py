"""Whether a file that lies where an extraction wants to write is the same extraction, begun or finished before."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from layerprobe.errors import LayerprobeError
from layerprobe.features.hdf5.layout import FilePlan, SecondSample
from layerprobe.features.hdf5.opening import check_replaceable_features
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.features.hdf5.writer import FeatureFileWriter
from layerprobe.records import Progress, silent
from layerprobe.version import __version__

_log = logging.getLogger(__name__)

# Where things came from, for people: weights are compared by their hash, preprocessing by its values.
_NOT_COMPARED = ("weights", "weights_key", "num_classes", "preprocessing source", "data_options", "adapted")
"""What says nothing of the features that the hash of the weights doesn't."""
_OF_IMAGES = ("population", "sample", "spectrum_sample", "pixels_sha256")


State = Literal["missing", "unfinished", "complete"]


def file_state(path: Path, plan: FilePlan) -> State:
    """How much of a planned file is there.

    Raises:
        LayerprobeError: if something else lies there.
    """
    if not path.exists():
        return "missing"
    with open_existing(path) as file:
        different = list(differences(file, plan))
        if not different:
            return "complete" if file.complete else "unfinished"
        state = "exists" if file.complete else "is unfinished"
    more = f"; and {len(different) - 3} more" if len(different) > 3 else ""
    raise LayerprobeError(
        f"{path} {state}, and is another extraction ({'; '.join(different[:3])}{more}); "
        "--overwrite starts anew, or name another --output"
    )


def recheck_rows(writer: FeatureFileWriter, progress: Progress = silent) -> None:
    """Forget what of an unfinished file is not what its checksums say, so that it is computed again.

    Args:
        writer: of the file.
        progress: told while rows are read.
    """
    with FeatureFile(writer.path, unfinished=True) as file:
        damaged = file.damaged(progress).any(dim=1).numpy()
        blocks = file.spectra.damaged() if file.spectra else np.zeros(0, np.bool_)
    if damaged.any():
        _log.warning("%d rows of %s did not reach the disk whole: computed again", damaged.sum(), writer.path)
        writer.forget(damaged)
    if blocks.any():
        _log.warning("%d class blocks of %s did not reach the disk whole: computed again", blocks.sum(), writer.path)
        writer.forget_blocks(blocks)
    _log.info("going on: %s are in %s", writer.counts, writer.path)


def open_existing(path: Path) -> FeatureFile:
    """Open the feature file, finished or not, that lies where one is to be written.

    Raises:
        LayerprobeError: if what lies there is not a feature file.
    """
    try:
        return FeatureFile(path, unfinished=True)
    except LayerprobeError as error:
        check_replaceable_features(path)
        reason = str(error).partition(";")[0]
        raise LayerprobeError(f"{path} exists ({reason}); --overwrite replaces it") from None


def differences(file: FeatureFile, plan: FilePlan, of_images: bool = True) -> Iterator[str]:
    """What tells a file from a plan, each in a few words: nothing where an extraction can go on in the file.

    Args:
        file: that lies there.
        plan: of the extraction.
        of_images: whether it counts which images they have.
    """
    now = {
        **dict.fromkeys(("spectrum_sample", "prefix_tokens", "view")),  # a file may have them where the plan has none
        **plan.provenance,
        "dtype": plan.dtype,
        "layerprobe_version": __version__,
        "torch_version": str(torch.__version__),
    }
    then = file.provenance
    for key, value in now.items():
        if of_images or key not in _OF_IMAGES:
            yield from _difference(key, then.get(key), value)
    if file.classes != tuple(plan.classes):
        yield "other classes"
    if of_images:
        yield from _image_differences(file, plan)
    if file.layers != plan.layers:
        yield from _layer_differences(file, plan)


def _image_differences(file: FeatureFile, plan: FilePlan) -> Iterator[str]:
    if not _same(file.image_rows, plan.rows) or not _same(file.labels, plan.labels):
        yield "other images or labels"
    if file.image_paths != (plan.paths and tuple(plan.paths)):
        yield "other image paths"
    if file.spectra and plan.spectra and not _is_second_sample(file, plan.spectra):
        yield "other images of the spectra"


def _is_second_sample(file: FeatureFile, planned: SecondSample) -> bool:
    """Whether a file has these images for the spectra."""
    return file.spectra is not None and (
        _same(file.spectra.image_rows, planned.rows)
        and _same(file.spectra.labels, planned.labels)
        and file.spectra.image_paths == (planned.paths and tuple(planned.paths))
    )


def _same(tensor: torch.Tensor | None, array: Any) -> bool:
    return array is None if tensor is None else array is not None and np.array_equal(tensor.numpy(), array)


def _difference(key: str, then: Any, now: Any) -> Iterator[str]:
    if key in _NOT_COMPARED:
        return
    if isinstance(then, dict) and isinstance(now, dict):
        for inner in sorted({*then, *now}):
            yield from _difference(f"{key} {inner}", then.get(inner), now.get(inner))
    elif then != (list(now) if isinstance(now, tuple) else now):
        yield f"{key}: {_short(then)} in the file, {_short(now)} now"


def _short(value: Any) -> str:
    text = str(value)
    return f"{text[:12]}..." if re.fullmatch(r"[0-9a-f]{64}", text) else text


def _layer_differences(file: FeatureFile, plan: FilePlan) -> Iterator[str]:
    then, now = ([stored.layer.name for stored in layers] for layers in (file.layers, plan.layers))
    if then != now:
        yield f"layers: {len(then)} in the file, {len(now)} now"
        return
    for old, new in zip(file.layers, plan.layers, strict=True):
        if old != new:
            what = (f"{stored.shape} {stored.reduction}".rstrip() for stored in (old, new))
            yield f"layer {new.layer.name}: {next(what)} in the file, {next(what)} now"
            return
