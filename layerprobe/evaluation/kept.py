"""What `layerprobe evaluate` keeps: scores of features as JSON, the confusion matrix as the numbers of its figure."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from layerprobe.distill.folder import CONFUSION, EVALUATION
from layerprobe.errors import FileError, shown
from layerprobe.evaluation.catalogue import EVALUATORS
from layerprobe.evaluation.evaluate import evaluated
from layerprobe.files import check_replaceable, read_csv, read_json, write_json
from layerprobe.records import Evaluation, FeatureEvaluation
from layerprobe.records.evaluations import (
    EVALUATION_FORMAT,
    EVALUATION_VERSION,
    REMEDY,
    EvaluationFile,
    parse_evaluation,
)
from layerprobe.records.fields import Count, Text
from layerprobe.records.parsing import parse
from layerprobe.records.run_files import read_cell
from layerprobe.settings.base import SettingsError
from layerprobe.settings.evaluate import EvaluateSettings

_log = logging.getLogger(__name__)

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
    for name, path in _files(folder, CONFUSION, ".csv").items():
        found[name] = Evaluation(name, "", "", *_matrix(path), top5=None)
    return found


def read_feature_evaluations(folder: Path) -> Mapping[str, FeatureEvaluation]:
    """The scores of features that lie in a run's folder, by what they are of.

    Raises:
        LayerprobeError: if a file of them is malformed.
    """
    return {name: read_evaluation(path) for name, path in _files(folder, EVALUATION, ".json").items()}


def read_evaluation(path: Path) -> FeatureEvaluation:
    """The scores in one file.

    Raises:
        LayerprobeError: if the file is not there or malformed.
    """
    return _read(path).found


def _files(folder: Path, beginning: str, ending: str) -> Mapping[str, Path]:
    """What was kept, by what it is of."""
    found = {}
    for path in sorted(folder.glob(f"{beginning}*{ending}")):
        if path.stat().st_size > _LARGEST:
            _log.warning("%s is left out: it is larger than %d MB", path, _LARGEST // 1_000_000)
            continue
        found[path.stem.removeprefix(beginning).removeprefix("-") or "on all test images"] = path
    return found


def kept_name(beginning: str, config: EvaluateSettings) -> str:
    """A name with what is evaluated other than the last weights on the run's own test images, without an ending.

    Args:
        beginning: of the name: what is kept.
        config: what is evaluated.
    """
    model = re.sub(r"[^\w.-]+", "-", config.model.name) if config.model else ""
    data = Path(config.data.name).name if config.data else ""
    head = config.head.stem if config.head else ""
    sample = "" if config.samples is None else str(config.samples)
    split, which = (
        value if value != usual else "" for value, usual in ((config.split, "test"), (config.which, "last"))
    )
    return "-".join(filter(None, (beginning, model, data, split, sample, which, head)))


def evaluation_path(config: EvaluateSettings) -> Path | None:
    """The file of scores; None: nothing is kept."""
    return None if config.folder is None else config.folder / f"{kept_name(EVALUATION, config)}.json"


def check_kept(config: EvaluateSettings) -> None:
    """Refuse to write over scores of other weights or images, before any work is done.

    Raises:
        LayerprobeError: if other scores lie there and may not be replaced.
    """
    path = evaluation_path(config)
    if path is None:
        return
    if path.parent.exists() and not path.parent.is_dir():
        raise SettingsError(f"{path.parent} is a file; <output> names a folder")
    if config.overwrite:
        check_replaceable(path, "a kept evaluation", lambda head: EVALUATION_FORMAT.encode() in head)
    elif path.exists() and not _continues(_read(path), config):
        raise SettingsError(
            f"{path} holds an evaluation of other weights or images, or with other intervals; <overwrite> replaces it, "
            "another <output> leaves it"
        )


def keep_evaluation(config: EvaluateSettings, found: FeatureEvaluation) -> Sequence[Path]:
    """Write scores beside those that the same weights have on the same images already.

    Args:
        config: what was evaluated.
        found: the scores.

    Returns:
        What was written; nothing where there is no folder for it.
    """
    path = evaluation_path(config)
    if path is None:
        return []
    before = _read(path) if path.exists() and not config.overwrite else None
    if before and _continues(before, config):
        found = _merged(before.found, found)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {"format": EVALUATION_FORMAT, "version": EVALUATION_VERSION, "of": _of(config), "found": found.to_dict()}
    write_json(path, content)
    return [path]


def _of(config: EvaluateSettings) -> str:
    return f"{evaluated(config)}, {config.train_samples or 'all'} to learn from"


def _read(path: Path) -> EvaluationFile:
    file = parse_evaluation(read_json(path, "evaluation", REMEDY), path)
    if unknown := next((score.by for score in file.found.scores if score.by not in EVALUATORS), None):
        raise FileError(f"{path}: by must be one of {', '.join(EVALUATORS)}, not {shown(unknown)}; {REMEDY}")
    return file


def _continues(before: EvaluationFile, config: EvaluateSettings) -> bool:
    """Whether scores are of the same weights and images as those that are there, with the same intervals."""
    there = before.found
    return before.of == _of(config) and (there.level, there.resamples, there.seed) == (
        config.level,
        config.resamples,
        config.seed,
    )


def _merged(before: FeatureEvaluation, now: FeatureEvaluation) -> FeatureEvaluation:
    """Scores of both, the newer in the place of the older."""
    scores = {(score.by, score.layer): score for score in (*before.scores, *now.scores)}
    return replace(
        now,
        scores=tuple(scores.values()),
        agreement=now.agreement or before.agreement,
        train_images=now.train_images or before.train_images,
    )


def _matrix(path: Path) -> tuple[tuple[str, ...], torch.Tensor]:
    """The classes, and how often images of one (row) are taken for another (column)."""
    rows = read_csv(path, "confusion matrix", REMEDY)
    classes = tuple(dict.fromkeys(row.get("class", "") for row in rows))
    cells = [parse(_Cell, {**row, "images": read_cell(row.get("images", ""))}, path, REMEDY) for row in rows]
    in_order = [cell.taken_for for cell in cells] == [*classes] * len(classes)
    if not rows or not in_order or [row.get("class", "") for row in rows] != [one for one in classes for _ in classes]:
        raise FileError(f"{path} holds no table of every class against every class; {REMEDY}")
    counts = torch.tensor([cell.images for cell in cells], dtype=torch.int64).view(len(classes), len(classes))
    if not counts.sum():
        raise FileError(f"{path} is of no image; {REMEDY}")
    return classes, counts
