"""Evaluations as tables: how good a classifier is, what features are worth, and how alike two networks see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from layerprobe.evaluation.catalogue import EVALUATORS
from layerprobe.records import Estimate, Evaluation, FeatureEvaluation, Score
from layerprobe.report.tables.table import Column, Table


def _ends(name: str, digits: int) -> tuple[Column, Column]:
    """The ends of an interval, which terminals show in columns of their own."""
    return (
        Column(f"{name}_low", "from", digits=digits, paper=False),
        Column(f"{name}_high", "to", digits=digits, paper=False),
    )


_ACCURACY = Column("accuracy", "top-1 (%)", digits=2, interval=True)
EVALUATION_COLUMNS = (
    Column("class", "class", "left", key=True),
    Column("images", "images", thousands=True),
    _ACCURACY,
    *_ends("accuracy", 2),
)
"""What the table of a classifier has."""


def evaluation_table(evaluation: Evaluation, score: Score | None = None, about: str = "") -> Table:
    """Top-1 of every class, and of all of them; top-5 and the confusion matrix among the details.

    Args:
        evaluation: of the classifier.
        score: the same with intervals; None: there are none.
        about: a line on the intervals; empty: none.
    """
    counts = evaluation.confusion.sum(dim=1).tolist()
    estimates: Sequence[Estimate | None] = score.classes if score else [None] * len(counts)
    rows = [
        {"class": name, "images": count, "accuracy": accuracy if count else None, **_interval("accuracy", estimate)}
        for name, count, accuracy, estimate in zip(
            evaluation.classes, counts, evaluation.per_class, estimates, strict=True
        )
    ]
    overall = _interval("accuracy", score.overall if score else None)
    rows.append({"class": "all", "images": evaluation.images, "accuracy": evaluation.top1, **overall})
    top5 = "" if evaluation.top5 is None else f", top-5 {evaluation.top5:.2f} %"
    return Table(
        title=f"{evaluation.name} on {evaluation.dataset}, {evaluation.split}",
        columns=EVALUATION_COLUMNS if score else tuple(c for c in EVALUATION_COLUMNS if c.paper),
        rows=tuple(rows),
        marked=frozenset([len(rows) - 1]),
        notes=(
            f"top-1 {evaluation.top1:.2f} %{top5} of {evaluation.images:,} images",
            *([about] if about and score else []),
        ),
        details=evaluation.to_dict(),
    )


SCORE_COLUMNS = (
    Column("by", "by", "left", key=True),
    Column("layer", "layer", "left", key=True),
    Column("dimension", "features", thousands=True),
    Column("images", "images", thousands=True),
    Column("measures", "measure", "left"),
    Column("value", "%", digits=2, interval=True),
    *_ends("value", 2),
    Column("seconds", "seconds", digits=1),
)
"""What the table of ways of evaluation has."""
AGREEMENT_COLUMNS = (
    Column("student", "layer of the student", "left", key=True),
    Column("teacher", "layer of the teacher", "left", key=True),
    Column("images", "images", thousands=True),
    Column("cka", "CKA", digits=3, interval=True),
    *_ends("cka", 3),
    Column("cosine", "cosine", digits=3, interval=True),
    *_ends("cosine", 3),
)
"""What the table of an agreement has."""


def interval_note(level: float, resamples: int) -> str:
    """What intervals are of."""
    if not resamples:
        return ""
    return f"intervals (from, to): {100 * level:g} % of the bootstrap over images, {resamples:,} resamples"


def feature_tables(found: FeatureEvaluation, classifier: Score | None = None) -> tuple[Table, ...]:
    """The ways of evaluation, every class, and the agreement with the teacher, as far as there are some.

    Args:
        found: what was evaluated.
        classifier: the score of the classifier on the same images; None: it was not evaluated.
    """
    scores = (*([classifier] if classifier else []), *found.scores)
    tables = [score_table(found, scores), class_table(found, scores)] if scores else []
    return (*tables, *([agreement_table(found)] if found.agreement else []))


def score_table(found: FeatureEvaluation, scores: Sequence[Score]) -> Table:
    """The scores of all images, one row for each way and layer."""
    trained = f"k-NN and probe learned from {found.train_images:,} training images"
    notes = [*_about(found), *([trained] if found.train_images else []), *map(_told, scores)]
    return Table(
        title=_title(found),
        columns=SCORE_COLUMNS,
        rows=tuple(map(_score_row, scores)),
        notes=tuple(filter(None, notes)),
        details=found.to_dict(),
    )


def _title(found: FeatureEvaluation) -> str:
    return f"{found.name} on {found.dataset}, {found.split}"


def _about(found: FeatureEvaluation) -> tuple[str, ...]:
    return tuple(filter(None, [interval_note(found.level, found.resamples)]))


def _score_row(score: Score) -> Mapping[str, Any]:
    way = EVALUATORS[score.by]
    return {
        "by": way.label,
        "layer": score.layer or "classifier",
        "dimension": score.dimension or None,
        "images": score.overall.images,
        "measures": way.measures,
        "value": score.overall.value,
        **_interval("value", score.overall),
        "seconds": score.seconds or None,
    }


def _told(score: Score) -> str:
    """How a score was found, in one line; empty: there is nothing to say."""
    facts = ", ".join(
        f"{name} {fact if isinstance(fact, str) else f'{fact:.4g}'}" for name, fact in score.facts.items()
    )
    return f"{EVALUATORS[score.by].label} of {score.layer}: {facts}" if facts else ""


def class_table(found: FeatureEvaluation, scores: Sequence[Score]) -> Table:
    """The scores of every class, one column for each way and layer."""
    layers = {score.layer for score in scores if score.layer}
    names = [score.by if len(layers) < 2 or not score.layer else f"{score.by} {score.layer}" for score in scores]
    columns = [
        Column(name, _heading(score, len(layers) > 1), digits=2, interval=True)
        for name, score in zip(names, scores, strict=True)
    ]
    rows = [
        {
            "class": label,
            "images": max(score.classes[number].images for score in scores),
            **{name: score.classes[number].value for name, score in zip(names, scores, strict=True)},
            **{
                key: end
                for name, score in zip(names, scores, strict=True)
                for key, end in _interval(name, score.classes[number]).items()
            },
        }
        for number, label in enumerate(found.classes)
    ]
    return Table(
        f"{_title(found)}: every class",
        (Column("class", "class", "left", key=True), Column("images", "images", thousands=True), *columns),
        tuple(rows),
        notes=_about(found),
        further=tuple(end for name in names for end in _ends(name, 2)),
    )


def _heading(score: Score, several: bool) -> str:
    way = EVALUATORS[score.by]
    return (
        f"{way.label} {score.layer}, {way.measures} (%)"
        if several and score.layer
        else (f"{way.label}, {way.measures} (%)")
    )


def agreement_table(found: FeatureEvaluation) -> Table:
    """CKA and cosine of every pair of layers, and of what the networks return."""
    pairs = found.agreement
    with_cosine = any(pair.cosine for pair in pairs)
    rows = tuple(
        {
            "student": pair.student,
            "teacher": pair.teacher,
            "images": pair.cka.images,
            "cka": pair.cka.value,
            **_interval("cka", pair.cka),
            "cosine": pair.cosine.value if pair.cosine else None,
            **_interval("cosine", pair.cosine),
        }
        for pair in pairs
    )
    notes = [
        "CKA: of the pooled features of both layers",
        "cosine: of the channels at every position, behind the run's own projectors"
        if with_cosine
        else "there are no cosines: the run has no projectors",
    ]
    title = f"{_title(found)}: agreement with the teacher"
    return Table(title, AGREEMENT_COLUMNS, rows, notes=(*_about(found), *notes))


def _interval(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    low, high = (estimate.low, estimate.high) if estimate else (None, None)
    return {f"{name}_low": low, f"{name}_high": high}
