"""Grids and validations to tabulate and to draw."""

import math
from dataclasses import replace

from layerprobe.records import (
    Candidate,
    Cell,
    CellResult,
    Correlation,
    Difference,
    GridResults,
    Interval,
    Run,
    Validation,
)
from tests.helpers.records import run

PAIR, OTHER = "A to B", "A to C"
ACCURACIES = {
    (PAIR, "feature-only", "quality:4"): [80.0, 82.0, 84.0],
    (PAIR, "feature-only", "even:4"): [79.0, 80.5, 81.0],
    (PAIR, "kd", ""): [70.0, 75.0, None],
    (PAIR, "scratch", ""): [60.0, 61.0, 62.0],
    (OTHER, "feature-only", "quality:4"): [50.0, None, None],
    (OTHER, "feature-only", "even:4"): [None, None, None],
    (OTHER, "kd", ""): [55.0, 55.5, None],
    (OTHER, "scratch", ""): [52.0, 51.0, 50.0],
}
"""Top-1 of the last epoch by pair, method and choice, and by seed; None: not finished."""
REASON = "out of memory & 5 % <script>alert('x')</script>"


def finished(method: str, accuracy: float, seed: int, teacher: float | None = 90.0) -> Run:
    """A run of two epochs; the first one is the better by one point where the seed is odd."""
    made = run(method, [accuracy + (1 if seed % 2 else -10), accuracy], holdout=[40.0, 30.0])
    loss = "head_cross_entropy" if method.startswith("feature-only") else "cross_entropy"
    epochs = tuple(replace(epoch, losses={loss: 1.0}, seconds=10.0 + seed) for epoch in made.epochs)
    return replace(
        made, epochs=epochs, teacher_accuracy=teacher, peak_memory=10**9 * (seed + 1),
        config={"training": {"train_samples": 1000, "test_samples": 500}},
        environment={"device_name": "x86_64", "threads": 1, "processes": 1},
    )  # fmt: skip


def result(pair: str, method: str, choice: str, seed: int, accuracy: float | None) -> CellResult:
    cell = Cell(pair, "", method, choice, seed, f"runs/{pair}/{method}/{choice}/seed-{seed}")
    if accuracy is not None:
        return CellResult(cell, "done", finished(method, accuracy, seed, None if method == "scratch" else 90.0))
    state = {"kd": "failed", "feature-only": "waiting"}[method]
    return CellResult(cell, state, reason=REASON if state == "failed" else "")


def grid(reference: str = "feature-only (quality:4)", title: str = "Small & quick") -> GridResults:
    """Two pairs, four methods and three seeds; kd fails with the last seed, and others wait."""
    results = tuple(
        result(pair, method, choice, seed, accuracy)
        for (pair, method, choice), accuracies in ACCURACIES.items()
        for seed, accuracy in enumerate(accuracies)
    )
    provenance = {"layerprobe": "0.1.0", "grid_sha256": "ab12", "grid": "title: Small & quick\nseeds: 3\n"}
    return GridResults(title, reference, results, provenance)


def changed(results: GridResults, number: int, run: Run) -> GridResults:
    """The same with another run in one cell."""
    cells = list(results.results)
    cells[number] = replace(cells[number], run=run)
    return replace(results, results=tuple(cells))


def without_runs(results: GridResults) -> GridResults:
    waiting = tuple(replace(one, state="waiting", run=None, reason="") for one in results.results)
    return replace(results, results=waiting)


def renamed(results: GridResults, method: str, to: str) -> GridResults:
    cells = tuple(
        replace(one, cell=replace(one.cell, method=to)) if one.cell.method == method else one for one in results.results
    )
    return replace(results, results=cells)


def validation() -> Validation:
    """Three single layers, one of them without a student, and two sets of 2; a score that is better when low."""
    candidates = (
        Candidate(PAIR, ("layer1",), 0.0, {"quality": 1.0, "log_me": -0.5}, {0: 60.0, 1: 62.0}),
        Candidate(PAIR, ("layer2",), 0.5, {"quality": 2.0, "log_me": math.nan}, {0: 65.0}),
        Candidate(PAIR, ("layer3",), 1.0, {"quality": 3.0, "log_me": 0.5}, {}),
        Candidate(PAIR, ("layer1", "layer2"), 0.25, {"quality": 1.5, "log_me": 0.0}, {0: 70.0, 1: 71.0}),
        Candidate(PAIR, ("layer2", "layer3"), 0.75, {"quality": 2.5, "log_me": 0.25}, {0: 72.0, 1: 74.0}),
    )
    correlations = tuple(
        Correlation(
            PAIR,
            group,
            score,
            2,
            value,
            value / 2,
            Interval(value - 0.3, value + 0.1),
            Interval(-0.1, 0.4),
            differences,
        )
        for group, score, value, differences in (
            ("single layers", "quality", 0.5, {}),
            ("single layers", "log_me", 0.25, {"quality": Difference(-0.25, Interval(-0.6, 0.1, 0.95))}),
            ("sets of 2", "quality", math.nan, {}),
            ("sets of 2", "log_me", 0.125, {"quality": Difference(math.nan, Interval(math.nan, math.nan, 0.95))}),
        )
    )
    provenance = {"grid_sha256": "ab12", "scores": {"images": 60}}
    return Validation("Which score tells", candidates, correlations, provenance, frozenset({"log_me"}))
