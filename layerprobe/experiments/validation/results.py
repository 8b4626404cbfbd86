"""A validation's folder, read at any moment: what students reached, and which score foretold it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from layerprobe.experiments.grids.grid_file import load_grid
from layerprobe.experiments.grids.results import GRID_FILE, read_grid
from layerprobe.experiments.validation.candidates import METHOD, teacher_layers
from layerprobe.experiments.validation.correlation import kendall, kendall_interval, spearman, spearman_interval
from layerprobe.experiments.validation.scores import CKA, read_scores
from layerprobe.types import Candidate, CellResult, Correlation, GridResults, Validation

DEPTH = "depth"


def read_validation(folder: Path) -> Validation | None:
    """The state of a validation; None where the folder's grid is none.

    Raises:
        LayerprobeError: if the folder holds no grid, or its scores are damaged.
    """
    results = read_grid(folder)
    known = read_scores(folder)
    if known is None:
        return None
    grid = load_grid(folder / GRID_FILE)
    layers = teacher_layers(grid, str(folder / GRID_FILE))
    depths = {layer.name: layer.index / max(len(layers) - 1, 1) for layer in layers}
    chosen = {planned.cell.choice: tuple(planned.values["teacher_layers"]) for planned in grid.cells}
    candidates = tuple(_candidates(results, known, depths, chosen))
    return Validation(
        title=results.title,
        candidates=candidates,
        correlations=tuple(_correlations(candidates)),
        provenance={**results.provenance, "scores": known["provenance"]},
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
        taught = known["taught"][label][str(len(layers))]
        scores |= {DEPTH: depth, CKA: _cka(layers, taught, known["cka"][label])}
        yield Candidate(pair, layers, depth, scores, {seed: run.last_accuracy for seed, run in runs.items()})


def _pair(result: CellResult) -> str:
    """The pair, with data and method where these could differ."""
    cell = result.cell
    return ", ".join(filter(None, (cell.pair, cell.data, cell.method if cell.method != METHOD else "")))


def _means(layers: Sequence[str], scores: Mapping[str, Mapping[str, float | None]]) -> dict[str, float]:
    """Of every score the mean over layers."""
    names = scores[layers[0]]
    return {name: mean(_number(scores[layer][name]) for layer in layers) for name in names}


def _cka(layers: Sequence[str], taught: Sequence[str], known: Mapping[str, Mapping[str, float | None]]) -> float:
    """Mean over pairs of what a teacher layer has in common with the student layer that learns from it."""
    return mean(_number(known[ours][theirs]) for ours, theirs in zip(layers, taught, strict=True))


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _correlations(candidates: Sequence[Candidate]) -> Iterable[Correlation]:
    groups: dict[tuple[str, int], list[Candidate]] = {}
    for candidate in candidates:
        groups.setdefault((candidate.pair, len(candidate.layers)), []).append(candidate)
    for (pair, size), members in groups.items():
        group = "single layers" if size == 1 else f"sets of {size}"
        for score in members[0].scores:
            yield _correlation(pair, group, score, members)


def _correlation(pair: str, group: str, score: str, members: Sequence[Candidate]) -> Correlation:
    points = [(one.scores[score], one.accuracy) for one in members]
    points = [point for point in points if not any(map(math.isnan, point))]
    values, accuracies = [point[0] for point in points], [point[1] for point in points]
    rho, tau = spearman(values, accuracies), kendall(values, accuracies)
    count = len(points)
    return Correlation(pair, group, score, count, rho, tau, spearman_interval(rho, count), kendall_interval(tau, count))
