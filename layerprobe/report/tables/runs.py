"""Runs as tables."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from layerprobe.records import Run
from layerprobe.records.adaptation import ADAPTED, TEACHER_ADAPTED, adaptations, in_brief
from layerprobe.report.tables.table import Column, Table

UNTESTED = "the student has no classifier: its accuracy is not measured"
LOSSES = "losses of different methods or layers don't compare"
HONESTY = "the last epoch is the headline; the best epoch on test is chosen by the test images, and optimistic"


def run_table(run: Run) -> Table:
    """The accuracies of one run; of a student without a classifier its losses."""
    if run.last_accuracy is None:
        return _losses_table(run)
    name = "" if run.config.get("command") == "train" else f"{run.label}, "
    rows = [] if run.teacher_accuracy is None else [{"what": "teacher", "accuracy": run.teacher_accuracy}]
    rows.append({"what": f"{name}last epoch", "accuracy": run.last_accuracy})
    if run.chosen_accuracy is not None:
        rows.append({"what": f"{name}epoch chosen on held-out images", "accuracy": run.chosen_accuracy})
    rows.append({"what": f"{name}best epoch on test", "accuracy": run.best_on_test_accuracy})
    return Table(
        title=f"{run.folder}: top-1 on the test images",
        columns=(Column("what", "", "left", key=True), Column("accuracy", "top-1 (%)", digits=2)),
        rows=tuple(rows),
        notes=(HONESTY, *adapted_notes(run)),
    )


def adapted_notes(run: Run) -> tuple[str, ...]:
    """What was changed of the weights that a run's network, and its teacher, started from; of most runs nothing."""
    trained = "the network" if run.config.get("command") == "train" else "the student"
    changed = {
        whose: adaptations(run.config, key) for key, whose in ((ADAPTED, trained), (TEACHER_ADAPTED, "the teacher"))
    }
    return tuple(
        f"{whose} started from changed weights: {in_brief(parts)}" for whose, parts in changed.items() if parts
    )


def _losses_table(run: Run) -> Table:
    """The loss terms of the first and the last epoch, and those of held-out images where there are some."""
    terms = dict.fromkeys(name for epoch in run.epochs for name in epoch.losses)
    ends = {"first": run.epochs[0].losses, "last": run.epochs[-1].losses}
    if run.chosen:
        ends |= {"held_out": run.epochs[-1].holdout_losses, "chosen": run.chosen.holdout_losses}
    held_out = (
        Column("held_out", "held-out images, last epoch", digits=4),
        Column("chosen", f"held-out images, epoch {run.chosen.epoch if run.chosen else 0}, their best", digits=4),
    )
    return Table(
        title=f"{run.folder}: training losses, means over an epoch",
        columns=(
            Column("what", "", "left", key=True),
            Column("first", "first epoch", digits=4),
            Column("last", "last epoch", digits=4),
            *(held_out if run.chosen else ()),
        ),
        rows=tuple(
            {"what": name.replace("_", " "), **{end: losses.get(name) for end, losses in ends.items()}}
            for name in terms
        ),
        notes=(UNTESTED,),
    )


def runs_table(runs: Sequence[Run]) -> Table:
    """Methods compared: mean and sample standard deviation of top-1 over seeds. No run is dropped."""
    methods = list(dict.fromkeys(run.label for run in runs))
    rows = tuple(_method_row(method, [run for run in runs if run.label == method]) for method in methods)
    known = [row["mean"] for row in rows if row["mean"] is not None]
    with_holdout = any(row["chosen"] is not None for row in rows)
    teacher = next((run.teacher_accuracy for run in runs if run.teacher_accuracy is not None), None)
    notes = () if teacher is None else (f"teacher: {teacher:.2f} %",)
    return Table(
        title="Top-1 on the test images (%)",
        columns=(
            Column("method", "method", "left", key=True),
            Column("seeds", "seeds"),
            Column("mean", "last epoch, mean", digits=2, best="max"),
            Column("deviation", "std", digits=2, joined=True),
            *((Column("chosen", "epoch chosen on held-out", digits=2),) if with_holdout else ()),
            Column("best", "best epoch on test", digits=2),
            Column("seconds", "seconds", digits=1),
        ),
        rows=rows,
        marked=frozenset([[row["mean"] for row in rows].index(max(known))] if known else ()),
        notes=(*notes, HONESTY),
    )


def _method_row(method: str, runs: Sequence[Run]) -> dict[str, Any]:
    last = [run.last_accuracy for run in runs if run.last_accuracy is not None]
    best = [run.best_on_test_accuracy for run in runs if run.best_on_test_accuracy is not None]
    chosen = [run.chosen_accuracy for run in runs if run.chosen_accuracy is not None]
    return {
        "method": method,
        "seeds": len(runs),
        "mean": statistics.mean(last) if last else None,
        "deviation": statistics.stdev(last) if len(last) > 1 else None,
        "chosen": statistics.mean(chosen) if len(chosen) == len(runs) else None,
        "best": statistics.mean(best) if best else None,
        "seconds": statistics.mean(sum(epoch.seconds for epoch in run.epochs) for run in runs),
    }
