"""Whether scores tell which layers distil well, as tables."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Any, Literal

from layerprobe.records import Candidate, Correlation, Interval, Validation
from layerprobe.report.grid.spread import spread
from layerprobe.report.tables.table import Column, Table

_SIGN = (
    "rank correlation of a score, known before any training, with the students' mean top-1 of the last epoch; "
    "1: the better by the score, the better the student, 0: it tells nothing; better: which values of it count as such"
)
_OVER = (
    "over a score: Spearman's correlation less that of the other score, of the candidates that have both, with "
    "{level} intervals of a paired bootstrap over candidates, not corrected for how many scores are compared"
)
_CAUTION = (
    "candidates are no independent sample: neighbouring layers are alike and sets share layers, so that all intervals "
    "are rather too narrow; most scores rise or fall with depth, and one that is not ahead of depth tells no more than "
    "depth does"
)


def score_names(validation: Validation) -> tuple[str, ...]:
    """Every score that some candidate has, in order."""
    return tuple(dict.fromkeys(name for candidate in validation.candidates for name in candidate.scores))


def words(score: str) -> str:
    """A score's name for people."""
    return score.replace("_", " ")


def correlations_table(validation: Validation) -> Table:
    """A row per pair, group of candidates and score: rank correlations with what students reach, with intervals.

    Beside them stands how far Spearman's is above that of other scores.
    """
    others = tuple(dict.fromkeys(name for one in validation.correlations for name in one.differences))
    return Table(
        title=f"{validation.title}: which score tells",
        columns=(
            Column("pair", "pair", "left", key=True),
            Column("group", "candidates", "left", key=True),
            Column("score", "score", "left", key=True),
            Column("better", "better", "left"),
            *_columns("spearman", "Spearman", best="max"),
            *_columns("kendall", "Kendall", best="max"),
            *(column for name in others for column in _columns(f"over {name}", f"over {words(name)}")),
            Column("candidates", "n"),
        ),
        rows=tuple(_correlation_row(one, validation.low_is_better, others) for one in validation.correlations),
        notes=(*_notes(validation.correlations), *validation.notes),
        details=dict(validation.provenance),
        best_within=("pair", "group"),
    )


def _notes(correlations: Sequence[Correlation]) -> Iterator[str]:
    yield _SIGN
    if levels := _levels(one.spearman_interval for one in correlations):
        yield f"in brackets: {levels} intervals"
    if levels := _levels(found.interval for one in correlations for found in one.differences.values()):
        yield _OVER.format(level=levels)
    if correlations:
        yield _CAUTION


def _levels(intervals: Iterable[Interval]) -> str:
    return ", ".join(dict.fromkeys(f"{100 * interval.level:g} %" for interval in intervals))


def _columns(name: str, title: str, best: Literal["", "max"] = "") -> tuple[Column, ...]:
    return (
        Column(name, title, digits=2, best=best, interval=True, signed=not best),
        Column(f"{name}_low", "from", digits=2, paper=False, signed=not best),
        Column(f"{name}_high", "to", digits=2, paper=False, signed=not best),
    )


def _correlation_row(one: Correlation, low_is_better: Container[str], others: Sequence[str]) -> dict[str, Any]:
    better = "low" if one.score in low_is_better else "high"
    row: dict[str, Any] = {"pair": one.pair, "group": one.group, "score": words(one.score), "better": better}
    row |= _cells("spearman", one.spearman, one.spearman_interval)
    row |= _cells("kendall", one.kendall, one.kendall_interval)
    for name in others:
        found = one.differences.get(name)
        row |= _cells(f"over {name}", found.value, found.interval) if found else _cells(f"over {name}")
    return {**row, "candidates": one.candidates}


def _cells(name: str, value: float | None = None, interval: Interval | None = None) -> dict[str, float | None]:
    """A value under the keys of a column with ``interval``."""
    ends = (interval.low, interval.high) if interval else (None, None)
    return {name: value, f"{name}_low": ends[0], f"{name}_high": ends[1]}


def candidates_table(validation: Validation) -> Table:
    """A row per candidate: its layers, how deep they lie, every score, and what its students reached."""
    scores = score_names(validation)
    waiting = sum(not candidate.accuracies for candidate in validation.candidates)
    left = (f"{waiting} of {len(validation.candidates)} candidates have no finished student",) if waiting else ()
    return Table(
        title=f"{validation.title}: candidates",
        columns=(
            Column("pair", "pair", "left", key=True),
            Column("group", "candidates", "left", key=True),
            Column("layers", "layers", "left", key=True),
            Column("depth", "depth", digits=2),
            *(Column(f"score {name}", words(name), digits=3) for name in scores),
            Column("top1", "students' top-1 (%)", digits=2, best="max", spread=True),
        ),
        rows=tuple(_candidate_row(candidate, scores) for candidate in validation.candidates),
        notes=(
            "depth: mean place of the layers, 0 is the first and 1 the last; of several layers mean scores",
            *validation.notes,
            *left,
        ),
        best_within=("pair", "group"),
    )


def _candidate_row(candidate: Candidate, scores: Sequence[str]) -> dict[str, Any]:
    return {
        "pair": candidate.pair,
        "group": candidate.group,
        "layers": ", ".join(candidate.layers),
        "depth": candidate.depth,
        **{f"score {name}": candidate.scores.get(name) for name in scores},
        **spread(candidate.accuracies.values()).cells("top1"),
    }
