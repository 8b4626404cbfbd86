"""What `layerprobe evaluate` left in a run's folder, read back from the numbers of its figures."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from layerprobe.errors import FileError
from layerprobe.files import read_csv
from layerprobe.records import Evaluation
from layerprobe.records.fields import Count, Text
from layerprobe.records.parsing import parse
from layerprobe.records.run_files import read_cell

_log = logging.getLogger(__name__)

_REMEDY = "`layerprobe evaluate RUN --overwrite` writes it anew"
_LARGEST = 16_000_000
"""Bytes of a file above which it isn't read: it is of more classes than a page can show."""


@dataclass(frozen=True)
class _Cell:
    """A row of the file: how many images of a class are taken for another."""

    taken_for: Text
    images: Count


def read_evaluations(folder: Path) -> Mapping[str, Evaluation]:
    """The evaluations whose figures lie in a run's folder, by what they are of.

    Raises:
        LayerprobeError: if the numbers of one are malformed.
    """
    found = {}
    for path in sorted(folder.glob("confusion*.csv")):
        if path.stat().st_size > _LARGEST:
            _log.warning("%s is left out: it is larger than %d MB", path, _LARGEST // 1_000_000)
            continue
        what = path.stem.removeprefix("confusion").removeprefix("-")
        name = what or "on all test images"
        found[name] = Evaluation(name, "", "", *_matrix(path), top5=None)
    return found


def _matrix(path: Path) -> tuple[tuple[str, ...], torch.Tensor]:
    """The classes, and how often images of one (row) are taken for another (column)."""
    rows = read_csv(path, "confusion matrix", _REMEDY)
    classes = tuple(dict.fromkeys(row.get("class", "") for row in rows))
    cells = [parse(_Cell, {**row, "images": read_cell(row.get("images", ""))}, path, _REMEDY) for row in rows]
    in_order = [cell.taken_for for cell in cells] == [*classes] * len(classes)
    if not rows or not in_order or [row.get("class", "") for row in rows] != [one for one in classes for _ in classes]:
        raise FileError(f"{path} holds no table of every class against every class; {_REMEDY}")
    counts = torch.tensor([cell.images for cell in cells], dtype=torch.int64).view(len(classes), len(classes))
    if not counts.sum():
        raise FileError(f"{path} is of no image; {_REMEDY}")
    return classes, counts
