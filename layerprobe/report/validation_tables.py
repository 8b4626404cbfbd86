"""Whether scores tell which layers distil well, as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from layerprobe.report.spread import spread
from layerprobe.report.tables import Column, Table
from layerprobe.types import Candidate, Correlation, Validation

SINGLE = "single layers"


def group_of(candidate: Candidate) -> str:
    """Which candidates it is compared with: those of as many layers.

    Example:
        >>> group_of(Candidate("a to b", ("layer1", "layer2"), 0.5, {}, {}))
        'sets of 2'
    """
    return SINGLE if len(candidate.layers) == 1 else f"sets of {len(candidate.layers)}"


def score_names(validation: Validation) -> tuple[str, ...]:
    """Every score that some candidate has, in order."""
    return tuple(dict.fromkeys(name for candidate in validation.candidates for name in candidate.scores))


def words(score: str) -> str:
    """A score's name for people."""
    return score.replace("_", " ")


def correlations_table(validation: Validation) -> Table:
    """A row per pair, group of candidates and score: rank correlations with what students reach, with intervals."""
    rows = tuple(_correlation_row(one) for one in validation.correlations)
    levels = dict.fromkeys(f"{100 * one.spearman_interval.level:g} %" for one in validation.correlations)
    notes = [
        "rank correlation of a score, known before any training, with the students' mean top-1 of the last epoch; "
        "1: the score orders the candidates as the students do, 0: it tells nothing"
    ]
    if levels:
        notes.append(f"in brackets: {', '.join(levels)} intervals")
    return Table(
        title=f"{validation.title}: which score tells",
        columns=(
            Column("pair", "pair", "left"),
            Column("group", "candidates", "left"),
            Column("score", "score", "left"),
            *_correlation_columns("spearman", "Spearman"),
            *_correlation_columns("kendall", "Kendall"),
            Column("candidates", "n"),
        ),
        rows=rows,
        notes=tuple(notes),
        details=dict(validation.provenance),
        best_within=("pair", "group"),
    )


def _correlation_columns(name: str, title: str) -> tuple[Column, ...]:
    return (
        Column(name, title, digits=2, best="max", interval=True),
        Column(f"{name}_low", "from", digits=2, paper=False),
        Column(f"{name}_high", "to", digits=2, paper=False),
    )


def _correlation_row(one: Correlation) -> dict[str, Any]:
    row: dict[str, Any] = {"pair": one.pair, "group": one.group, "score": words(one.score)}
    for name, value, ends in (
        ("spearman", one.spearman, one.spearman_interval),
        ("kendall", one.kendall, one.kendall_interval),
    ):
        row |= {name: value, f"{name}_low": ends.low, f"{name}_high": ends.high}
    return {**row, "candidates": one.candidates}


def candidates_table(validation: Validation) -> Table:
    """A row per candidate: its layers, how deep they lie, every score, and what its students reached."""
    scores = score_names(validation)
    waiting = sum(not candidate.accuracies for candidate in validation.candidates)
    left = (f"{waiting} of {len(validation.candidates)} candidates have no finished student",) if waiting else ()
    return Table(
        title=f"{validation.title}: candidates",
        columns=(
            Column("pair", "pair", "left"),
            Column("group", "candidates", "left"),
            Column("layers", "layers", "left"),
            Column("depth", "depth", digits=2),
            *(Column(f"score {name}", words(name), digits=3) for name in scores),
            Column("top1", "students' top-1 (%)", digits=2, best="max", spread=True),
        ),
        rows=tuple(_candidate_row(candidate, scores) for candidate in validation.candidates),
        notes=("depth: mean place of the layers, 0 is the first and 1 the last; of several layers mean scores", *left),
        best_within=("pair", "group"),
    )


def _candidate_row(candidate: Candidate, scores: Sequence[str]) -> dict[str, Any]:
    return {
        "pair": candidate.pair,
        "group": group_of(candidate),
        "layers": ", ".join(candidate.layers),
        "depth": candidate.depth,
        **{f"score {name}": candidate.scores.get(name) for name in scores},
        **spread(candidate.accuracies.values()).cells("top1"),
    }
