"""A grid as a study: one table in place of its run folders, read as if they were there.

A study is a folder with ``grid.yaml``, the rankings that its rules looked at, and a table with a row per cell that is
done or has failed, and per layer that a validation scored. Runs that are made later lie beside the table, in folders.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from layerprobe.distill.folder import RunRecord, build_run
from layerprobe.errors import LayerprobeError
from layerprobe.experiments.grid.flat_csv import format_rows, read_rows
from layerprobe.experiments.grid.grid_file import slug
from layerprobe.records import Cell, FeatureEvaluation, Run
from layerprobe.records.grid_files import parse_scores
from layerprobe.records.parsing import parse

TABLE = "runs.csv"
RANKINGS = "rankings"
_RUN, _LAYER, _SCORES = "run", "layer", "scores"
"""Kinds of rows."""


@dataclass(frozen=True)
class FinishedCell:
    """What was kept of a finished cell.

    Attributes:
        run: its run.
        record: what the files of the run hold.
        settings: what the grid file said to the run when it began, by the keys of that version; None: that was not
            kept.
        evaluation: of the features that the student has, where the grid asks for it; None: there is none.
    """

    run: Run
    record: RunRecord
    settings: Mapping[str, Any] | None
    evaluation: FeatureEvaluation | None = None


@dataclass(frozen=True)
class Study:
    """What a study's table holds.

    Attributes:
        finished: cells by the path of their run folder.
        failures: why cells failed, by the path of their run folder.
        scores: what ``scores.json`` of a validation holds; None: the grid is none.
    """

    finished: Mapping[str, FinishedCell] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    scores: Mapping[str, Any] | None = None


def read_study(folder: Path) -> Study:
    """The table in a grid's folder; an empty study where there is none.

    Raises:
        LayerprobeError: if the table is damaged.
    """
    path = folder / TABLE
    try:
        state = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return Study()
    return _read(path, state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=32)
def _read(path: Path, changed: int, size: int) -> Study:
    """The same, read once as long as the file stays as it is."""
    rows = read_rows(path)
    finished, failures = {}, {}
    for number, row in enumerate(rows, 1):
        try:
            if row["record"] == _RUN and row["state"] == "done":
                finished[row["path"]] = _finished(row, path.parent)
            elif row["record"] == _RUN:
                failures[row["path"]] = row["reason"]
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise LayerprobeError(
                f"{path}: row {number} is damaged ({type(error).__name__}: {error}); restore the file"
            ) from None
        except LayerprobeError as error:
            raise LayerprobeError(f"{path}: row {number}: {error}") from None
    return Study(finished, failures, _scores(rows, path))


def _finished(row: Mapping[str, Any], folder: Path) -> FinishedCell:
    record = RunRecord(row["config"], row["result"], row["epochs"])
    run, evaluation = build_run(folder / row["path"], record), row.get("evaluation")
    evaluated = parse(FeatureEvaluation, evaluation, folder / TABLE, "restore the file") if evaluation else None
    return FinishedCell(run, record, row.get("settings"), evaluated)


def _scores(rows: Sequence[Mapping[str, Any]], path: Path) -> Mapping[str, Any] | None:
    about = next((row["scores"] for row in rows if row["record"] == _SCORES), None)
    if about is None:
        return None
    try:
        layers = {str(row["layer"]): row for row in rows if row["record"] == _LAYER}
        scores = {name: row["score"] for name, row in layers.items()}
        cka: dict[str, dict[str, Any]] = {}
        for name, row in layers.items():
            for pair, similar in row.get("cka", {}).items():
                cka.setdefault(pair, {})[name] = similar
        return parse_scores({"scores": scores, "cka": cka, **about}, path, "restore the file")
    except (KeyError, TypeError, AttributeError) as error:
        raise LayerprobeError(f"{path} is damaged ({type(error).__name__}: {error}); restore the file") from None


def format_study(
    finished: Mapping[Cell, FinishedCell], failures: Mapping[Cell, str], scores: Mapping[str, Any] | None
) -> str:
    """The text of a study's table.

    Args:
        finished: every cell that is done.
        failures: why the cells failed that did.
        scores: of a validation, as its ``scores.json`` holds them.
    """
    rows = [
        *(_finished_row(cell, kept) for cell, kept in finished.items()),
        *({**_labels(cell, "failed"), "reason": reason} for cell, reason in failures.items()),
        *(_score_rows(scores) if scores is not None else ()),
    ]
    return format_rows(rows)


def _finished_row(cell: Cell, kept: FinishedCell) -> dict[str, Any]:
    record = kept.record
    row = {
        **_labels(cell, "done"),
        "result": record.result,
        "epochs": record.metrics,
        "config": record.config,
        "settings": kept.settings,
        "evaluation": kept.evaluation.to_dict() if kept.evaluation else None,
    }
    return {name: value for name, value in row.items() if value is not None}


def _labels(cell: Cell, state: str) -> dict[str, Any]:
    """What a person looks for first; an empty label is an empty cell."""
    labels = {"pair": cell.pair, "data": cell.data, "method": cell.method, "choice": cell.choice}
    given = {name: label for name, label in labels.items() if label}
    return {"record": _RUN, **given, "seed": cell.seed, "state": state, "path": cell.path}


def _score_rows(scores: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for layer, values in scores["scores"].items():
        cka = {pair: similar[layer] for pair, similar in scores["cka"].items() if layer in similar}
        yield {"record": _LAYER, "layer": layer, "score": values, "cka": cka}
    yield {"record": _SCORES, "scores": {key: value for key, value in scores.items() if key not in ("scores", "cka")}}


def kept_ranking(file: Path, folder: Path) -> Path:
    """Where a ranking that a grid file names is kept in a study: under its path as one name, in ``rankings/``."""
    return folder / RANKINGS / slug(str(file))
