"""The HDF5 feature file, format version 1: writer and reader. Its layout is known here and nowhere else."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

import layerprobe
from layerprobe.errors import LayerprobeError
from layerprobe.types import Layer

FORMAT = "layerprobe-features"
FORMAT_VERSION = 1
_JSON_ATTRIBUTES = ("preprocessing", "sample")


@dataclass(frozen=True)
class StoredLayer:
    """A layer as it lies in the file.

    Attributes:
        layer: which layer, with the shape the network gave it.
        shape: stored shape of one image's features; other than ``layer.shape`` where they were reduced.
        reduction: what was done to the features, e.g. ``avg:64x64``; empty: nothing.
    """

    layer: Layer
    shape: tuple[int, ...]
    reduction: str = ""

    @property
    def dimension(self) -> int:
        """D, the number of stored features per image."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class FilePlan:
    """Everything about a feature file that is known before the first image is read.

    Attributes:
        layers: the layers, in execution order.
        dtype: ``float32`` or ``float16``.
        labels: (rows,) int64 class labels.
        rows: (rows,) int64 row of every image in its data set.
        paths: path of every image, where the data set has files.
        classes: class names.
        provenance: model, weights_sha256, dataset, split, population, preprocessing, sample, ...
    """

    layers: tuple[StoredLayer, ...]
    dtype: str
    labels: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    paths: Sequence[str] | None
    classes: Sequence[str]
    provenance: Mapping[str, Any]

    @property
    def size(self) -> int:
        """Bytes of features that the file will hold."""
        per_image = sum(layer.dimension for layer in self.layers)
        return len(self.labels) * per_image * np.dtype(self.dtype).itemsize


class FeatureFileWriter:
    """Writes a feature file batch by batch.

    The data go to ``NAME.partial``, which takes the file's name only when ``finish`` finds every row written:
    a file under its own name is complete. Leaving the context without ``finish`` removes the partial file.
    """

    def __init__(self, path: Path, plan: FilePlan) -> None:
        self._path = path
        self._partial = path.with_name(path.name + ".partial")
        self._rows = len(plan.labels)
        self._written = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = h5py.File(self._partial, "w")
        self._datasets = _create(self._file, plan)

    def write(self, features: Sequence[npt.NDArray[Any]]) -> None:
        """Append one batch: for every layer, in order, an array (batch, ...) of the planned shape."""
        count = len(features[0])
        for dataset, values in zip(self._datasets, features, strict=True):
            dataset[self._written : self._written + count] = values
        self._written += count
        self._file.attrs["rows_done"] = self._written

    def finish(self) -> None:
        """Mark the file complete and give it its name.

        Raises:
            ValueError: if rows are missing.
        """
        if self._written != self._rows:
            raise ValueError(f"{self._written} of {self._rows} rows were written")
        self._file.flush()
        self._file.attrs["complete"] = True
        self._file.close()
        with self._partial.open("rb") as file:
            os.fsync(file.fileno())
        self._partial.replace(self._path)

    def __enter__(self) -> FeatureFileWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._partial.unlink(missing_ok=True)


def _create(file: h5py.File, plan: FilePlan) -> list[h5py.Dataset]:
    rows = len(plan.labels)
    file.attrs.update(
        {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "layerprobe_version": layerprobe.__version__,
            "torch_version": str(torch.__version__),
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "complete": False,
            "rows": rows,
            "rows_done": 0,
            "dtype": plan.dtype,
        }
    )
    for key, value in plan.provenance.items():
        file.attrs[key] = json.dumps(value) if key in _JSON_ATTRIBUTES else value
    text = h5py.string_dtype("utf-8")
    file.create_dataset("images/label", data=plan.labels.astype(np.int64))
    file.create_dataset("images/index", data=plan.rows.astype(np.int64))
    if plan.paths is not None:
        file.create_dataset("images/path", data=list(plan.paths), dtype=text)
    file.create_dataset("classes", data=list(plan.classes), dtype=text)
    datasets = []
    for stored in plan.layers:
        dataset = file.create_dataset(f"layers/{stored.layer.index:06d}", (rows, *stored.shape), plan.dtype)
        dataset.attrs.update(
            {
                "name": stored.layer.name,
                "kind": stored.layer.kind,
                "shape": np.asarray(stored.layer.shape, dtype=np.int64),
                "parameters": stored.layer.parameters,
                "reduction": stored.reduction,
            }
        )
        datasets.append(dataset)
    return datasets


class FeatureFile:
    """Reads a feature file.

    Args:
        path: the HDF5 file that ``layerprobe extract`` wrote.

    Raises:
        LayerprobeError: if there is no such file, it isn't a feature file of this version, or it is unfinished.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._file = _open(self.path)

    @property
    def layers(self) -> tuple[StoredLayer, ...]:
        """The stored layers, in execution order."""
        return tuple(
            StoredLayer(
                layer=Layer(
                    index=int(key),
                    name=str(dataset.attrs["name"]),
                    kind=str(dataset.attrs["kind"]),
                    shape=tuple(int(size) for size in dataset.attrs["shape"]),
                    parameters=int(dataset.attrs["parameters"]),
                ),
                shape=tuple(dataset.shape[1:]),
                reduction=str(dataset.attrs["reduction"]),
            )
            for key, dataset in sorted(self._file["layers"].items())
        )

    @property
    def labels(self) -> Tensor:
        """(rows,) int64 class labels."""
        return torch.from_numpy(self._file["images/label"][:])

    @property
    def image_rows(self) -> Tensor:
        """(rows,) int64, the row of every image in its data set."""
        return torch.from_numpy(self._file["images/index"][:])

    @property
    def image_paths(self) -> tuple[str, ...] | None:
        """Path of every image below the data set's folder; None where the data set has no files."""
        if "images/path" not in self._file:
            return None
        return tuple(self._file["images/path"].asstr()[:])

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is a position in this tuple."""
        return tuple(self._file["classes"].asstr()[:])

    @property
    def provenance(self) -> dict[str, Any]:
        """The file's attributes as plain values: model, weights, data, preprocessing, sample, versions."""
        values = {key: value.item() if hasattr(value, "item") else value for key, value in self._file.attrs.items()}
        return {key: json.loads(value) if key in _JSON_ATTRIBUTES else value for key, value in values.items()}

    def features(self, index: int, start: int = 0, stop: int | None = None) -> Tensor:
        """Rows ``start`` to ``stop`` of a layer, (rows, ...), in the stored type."""
        return torch.from_numpy(self._file[f"layers/{index:06d}"][start:stop])

    def columns(self, index: int, width: int = 4096) -> Iterator[Tensor]:
        """A layer's n x D feature matrix in blocks of about ``width`` columns, each (n, d) float32."""
        dataset = self._file[f"layers/{index:06d}"]
        inner = math.prod(dataset.shape[2:])
        step = max(1, width // inner)
        for start in range(0, dataset.shape[1], step):
            block = dataset[:, start : start + step]
            yield torch.from_numpy(block.reshape(len(block), -1).astype(np.float32, copy=False))

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __enter__(self) -> FeatureFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _open(path: Path) -> h5py.File:
    remedy = "`layerprobe extract` writes one"
    if not path.is_file():
        raise LayerprobeError(f"no feature file at {path}; {remedy}")
    try:
        file = h5py.File(path, "r")
    except OSError:
        raise LayerprobeError(f"{path} is not an HDF5 file, or it is damaged; {remedy}") from None
    if file.attrs.get("format") != FORMAT:
        problem = f"{path} is an HDF5 file, but not a layerprobe feature file"
    elif file.attrs.get("format_version") != FORMAT_VERSION:
        problem = (
            f"{path} has format version {file.attrs.get('format_version')}, this layerprobe reads {FORMAT_VERSION}"
        )
    elif not file.attrs.get("complete"):
        done, rows = file.attrs.get("rows_done"), file.attrs.get("rows")
        problem = f"{path} is unfinished: {done} of {rows} rows"
    else:
        return file
    file.close()
    raise LayerprobeError(f"{problem}; {remedy}")
