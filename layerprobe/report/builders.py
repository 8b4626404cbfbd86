"""Records into tables."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from layerprobe.report.tables import Column, Table
from layerprobe.types import Layer, Ranking, Run

_LAYER_COLUMNS = (
    Column("index", "#"),
    Column("name", "layer", "left"),
    Column("kind", "kind", "left"),
    Column("shape", "shape", "left"),
)
HONESTY = "the last epoch is the headline; the best epoch on test is chosen by the test images, and optimistic"


def layers_table(layers: Sequence[Layer], model: str) -> Table:
    """The generalized layers of a model."""
    return Table(
        title=f"{model}: {len(layers)} layers",
        columns=(*_LAYER_COLUMNS, Column("parameters", "parameters so far", thousands=True)),
        rows=tuple({**_layer(layer), "parameters": layer.parameters} for layer in layers),
    )


def _layer(layer: Layer) -> dict[str, object]:
    return {
        "index": layer.index,
        "name": layer.name,
        "kind": layer.kind,
        "shape": "x".join(map(str, layer.shape)),
    }


def ranking_table(ranking: Ranking) -> Table:
    """The scores of every layer, the chosen ones marked."""
    scores = ("separation", "information", "efficiency", "quality")
    rows = tuple(
        {
            **_layer(geometry.layer),
            "dimension": math.prod(geometry.layer.shape),
            **{score: geometry.statistics[score] for score in scores},
        }
        for geometry in ranking.geometries
    )
    chosen = (number for number, row in enumerate(rows) if row["name"] in ranking.selected)
    return Table(
        title=f"{ranking.provenance.get('model', 'layers')}: layers by {ranking.score}",
        columns=(
            *_LAYER_COLUMNS,
            Column("dimension", "D", thousands=True),
            *(Column(score, score, digits=4) for score in scores),
        ),
        rows=rows,
        marked=frozenset(chosen),
        notes=(describe_sample(ranking), f"chosen by {ranking.score}: {', '.join(ranking.selected)}"),
    )


def describe_sample(ranking: Ranking) -> str:
    """Which images the scores come from: scores of samples of different size can't be compared."""
    source = ranking.provenance
    sample = source.get("sample", {})
    per_class = sample.get("per_class")
    size = f"{source.get('rows', '?')} images" + (f" ({per_class} per class)" if per_class else "")
    dataset = Path(str(source.get("dataset", "?"))).name
    return f"{size} of {source.get('population', '?')} in {dataset}/{source.get('split', '?')}"


def run_table(run: Run) -> Table:
    """The accuracies of one run."""
    rows = [] if run.teacher_accuracy is None else [{"what": "teacher", "accuracy": run.teacher_accuracy}]
    rows.append({"what": f"{run.method}, last epoch", "accuracy": run.last_accuracy})
    if run.chosen_accuracy is not None:
        rows.append({"what": f"{run.method}, epoch chosen on held-out images", "accuracy": run.chosen_accuracy})
    rows.append({"what": f"{run.method}, best epoch on test", "accuracy": run.best_on_test_accuracy})
    return Table(
        title=f"{run.folder}: top-1 on the test images",
        columns=(Column("what", "", "left"), Column("accuracy", "top-1 (%)", digits=2)),
        rows=tuple(rows),
        notes=(HONESTY,),
    )


def runs_table(runs: Sequence[Run]) -> Table:
    """Methods compared: mean and sample standard deviation of top-1 over seeds. No run is dropped."""
    methods = list(dict.fromkeys(run.method for run in runs))
    rows = tuple(_method_row(method, [run for run in runs if run.method == method]) for method in methods)
    means = [row["mean"] for row in rows]
    with_holdout = any(row["chosen"] is not None for row in rows)
    teacher = next((run.teacher_accuracy for run in runs if run.teacher_accuracy is not None), None)
    notes = () if teacher is None else (f"teacher: {teacher:.2f} %",)
    return Table(
        title="Top-1 on the test images (%)",
        columns=(
            Column("method", "method", "left"),
            Column("seeds", "seeds"),
            Column("mean", "last epoch, mean", digits=2),
            Column("deviation", "std", digits=2),
            *((Column("chosen", "epoch chosen on held-out", digits=2),) if with_holdout else ()),
            Column("best", "best epoch on test", digits=2),
            Column("seconds", "seconds", digits=1),
        ),
        rows=rows,
        marked=frozenset([means.index(max(means))]),
        notes=(*notes, HONESTY),
    )


def _method_row(method: str, runs: Sequence[Run]) -> dict[str, Any]:
    last = [run.last_accuracy for run in runs]
    chosen = [run.chosen_accuracy for run in runs if run.chosen_accuracy is not None]
    return {
        "method": method,
        "seeds": len(runs),
        "mean": statistics.mean(last),
        "deviation": statistics.stdev(last) if len(last) > 1 else None,
        "chosen": statistics.mean(chosen) if len(chosen) == len(runs) else None,
        "best": statistics.mean(run.best_on_test_accuracy for run in runs),
        "seconds": statistics.mean(sum(epoch.seconds for epoch in run.epochs) for run in runs),
    }
