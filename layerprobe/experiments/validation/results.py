"""A validation's folder, read at any moment: what students reached, and which score predicted it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from layerprobe.errors import LayerprobeError
from layerprobe.experiments.grid.grid_file import Grid, load_grid
from layerprobe.experiments.grid.results import GRID_FILE, read_grid
from layerprobe.experiments.statistics import (
    kendall,
    kendall_interval,
    spearman,
    spearman_difference,
    spearman_interval,
)
from layerprobe.experiments.validation.candidates import METHOD, layers_of, teacher_layers
from layerprobe.experiments.validation.scores import CKA, SCORE_FILE, read_scores
from layerprobe.experiments.validation.seeds import comparable
from layerprobe.geometry.catalogue import SCORES, described
from layerprobe.records import Candidate, CellResult, Correlation, Difference, GridResults, Validation
from layerprobe.settings.code import check_code

DEPTH = "depth"
REFERENCES = ("quality", DEPTH)
"""Scores that every other one is compared with: the paper's, and the simplest."""


def read_validation(folder: Path, allow_code: bool = False) -> Validation | None:
    """The state of a validation; None where the folder's grid is none.

    Args:
        folder: of the grid.
        allow_code: whether to run the Python file that the grid names, where its teacher is ``FILE.py:callable``.

    Raises:
        LayerprobeError: if the folder holds no grid, its scores are damaged or none of the grid's, or its teacher is a
            Python file that may not be run.
    """
    results = read_grid(folder)
    known = read_scores(folder)
    if known is None:
        return None
    grid = load_grid(folder / GRID_FILE, recorded=True)
    check_code(grid.cells[0].settings.teacher.name, folder, allow_code)
    layers = teacher_layers(grid)
    depths = {layer.name: layer.index / max(len(layers) - 1, 1) for layer in layers}
    chosen = {planned.cell.choice: layers_of(planned) for planned in grid.cells}
    _check_scores(known, grid, folder)
    groups = [comparable(members) for members in _groups(_candidates(results, known, depths, chosen))]
    return Validation(
        title=results.title,
        candidates=tuple(one for group in groups for one in group.candidates),
        correlations=tuple(one for group in groups for one in correlations(group.candidates)),
        provenance={**results.provenance, "scores": known["provenance"]},
        low_is_better=frozenset(name for name, score in SCORES.items() if score.direction == "low"),
        notes=tuple(group.note for group in groups if group.note),
    )


def _check_scores(known: Mapping[str, Any], grid: Grid, folder: Path) -> None:
    """Refuse scores that don't say of every candidate how good it should be."""
    for planned in grid.cells:
        pair, layers = planned.cell.pair, layers_of(planned)
        if not (set(layers) <= set(known["scores"]) and str(len(layers)) in known["taught"].get(pair, {})):
            raise LayerprobeError(
                f"{folder / SCORE_FILE} has no scores of {', '.join(layers)} for {pair}, which {GRID_FILE} asks for; "
                f"run `layerprobe validate` again with --output {folder}: it measures them"
            )


def _candidates(
    results: GridResults,
    known: Mapping[str, Any],
    depths: Mapping[str, float],
    chosen: Mapping[str, tuple[str, ...]],
) -> Iterable[Candidate]:
    groups: dict[tuple[str, str], list[CellResult]] = {}
    for result in results.results:
        groups.setdefault((_pair(result), result.cell.choice), []).append(result)
    for (pair, choice), members in groups.items():
        layers = chosen[choice]
        depth = mean(depths[name] for name in layers)
        scores = _means(layers, known["scores"])
        runs = {member.cell.seed: member.run for member in members if member.run}
        label = members[0].cell.pair
        student_layers = known["taught"][label][str(len(layers))]
        scores |= {DEPTH: depth, CKA: _cka(layers, student_layers, known["cka"][label])}
        reached = {seed: run.last_accuracy for seed, run in runs.items() if run.last_accuracy is not None}
        yield Candidate(pair, layers, depth, scores, reached)


def _pair(result: CellResult) -> str:
    """The pair, with data and method where these could differ."""
    cell = result.cell
    return ", ".join(filter(None, (cell.pair, cell.data, cell.method if cell.method != METHOD else "")))


def _means(layers: Sequence[str], scores: Mapping[str, Mapping[str, float | None]]) -> dict[str, float]:
    """Of every score the mean over layers."""
    names = scores[layers[0]]
    return {name: mean(_number(scores[layer][name]) for layer in layers) for name in names}


def _cka(
    layers: Sequence[str], student_layers: Sequence[str], known: Mapping[str, Mapping[str, float | None]]
) -> float:
    """Mean over pairs of what a teacher layer has in common with the student layer that learns from it."""
    return mean(_number(known[ours][theirs]) for ours, theirs in zip(layers, student_layers, strict=True))


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _groups(candidates: Iterable[Candidate]) -> Iterable[list[Candidate]]:
    """Candidates that are compared with each other: of one pair, and of as many layers."""
    groups: dict[tuple[str, str], list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault((candidate.pair, candidate.group), []).append(candidate)
    return groups.values()


def correlations(members: Sequence[Candidate]) -> Iterable[Correlation]:
    """How well each score orders candidates that are compared with each other."""
    for score in members[0].scores:
        values, accuracies = _known(members, score)
        rho, tau = spearman(values, accuracies), kendall(values, accuracies)
        count = len(values)
        yield Correlation(
            members[0].pair,
            members[0].group,
            score,
            count,
            rho,
            tau,
            spearman_interval(rho, count),
            kendall_interval(tau, count),
            {other: _difference(members, score, other) for other in REFERENCES if other != score},
        )


def _difference(members: Sequence[Candidate], score: str, other: str) -> Difference:
    values, others, accuracies = _known(members, score, other)
    return spearman_difference(values, others, accuracies)


def _known(members: Sequence[Candidate], *scores: str) -> list[list[float]]:
    """Values of each score, and last the accuracies, of the candidates that have them all; the better, the higher."""
    signs = [described(score).sign for score in scores]
    rows = [
        [*(sign * one.scores[score] for sign, score in zip(signs, scores, strict=True)), one.accuracy]
        for one in members
    ]
    whole = [row for row in rows if not any(map(math.isnan, row))]
    return [[row[column] for row in whole] for column in range(len(scores) + 1)]
