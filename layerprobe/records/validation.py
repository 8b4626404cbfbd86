"""Whether scores tell which layers distil well."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from layerprobe.records.geometry import Interval


@dataclass(frozen=True)
class Candidate:
    """A set of teacher layers that students were distilled from, with what was known of it before.

    Attributes:
        pair: label of teacher and student.
        layers: names of the teacher's layers, in order of depth.
        depth: mean position of these layers, from 0 (the first layer) to 1 (the last).
        scores: value by name, each known before any training; of several layers the mean.
        accuracies: what the students reached, top-1 of the last epoch in percent, by seed; of the seeds by which the
            candidates of its group are compared.
    """

    pair: str
    layers: tuple[str, ...]
    depth: float
    scores: Mapping[str, float]
    accuracies: Mapping[int, float]

    @property
    def group(self) -> str:
        """Which candidates it is compared with: those of as many layers.

        Examples:
            >>> Candidate("a to b", ("layer1", "layer2"), 0.5, {}, {}).group
            'sets of 2'
        """
        return "single layers" if len(self.layers) == 1 else f"sets of {len(self.layers)}"

    @property
    def accuracy(self) -> float:
        """Mean over seeds; NaN where no student is finished."""
        return sum(self.accuracies.values()) / len(self.accuracies) if self.accuracies else math.nan


@dataclass(frozen=True)
class Difference:
    """How far one number is above another one.

    Attributes:
        value: the one less the other.
        interval: of it.
    """

    value: float
    interval: Interval


@dataclass(frozen=True)
class Correlation:
    """How well the order by a score is the order by what students reach.

    It is 1 where the better value of the score goes with the better student, also of a score that is the better the
    lower it is.

    Attributes:
        pair: label of teacher and student.
        group: which candidates: ``single layers`` or ``sets of 4``, ...
        score: its name.
        candidates: how many have both a score and an accuracy.
        spearman: rank correlation, from -1 to 1; NaN with fewer than three candidates, or where all have one value.
        kendall: tau-b, likewise.
        spearman_interval: of it.
        kendall_interval: of it.
        differences: its ``spearman`` less that of another score, by the other's name.
    """

    pair: str
    group: str
    score: str
    candidates: int
    spearman: float
    kendall: float
    spearman_interval: Interval
    kendall_interval: Interval
    differences: Mapping[str, Difference] = field(default_factory=dict)


@dataclass(frozen=True)
class Validation:
    """Whether scores tell which layers distil well.

    Attributes:
        title: what was validated.
        candidates: every set of layers, finished or not.
        correlations: one per pair, group of candidates and score.
        provenance: of the grid and of the scores.
        low_is_better: names of the scores of which a lower value is taken for the better one.
        notes: what a reader of the numbers must know.
    """

    title: str
    candidates: tuple[Candidate, ...]
    correlations: tuple[Correlation, ...]
    provenance: Mapping[str, Any] = field(default_factory=dict)
    low_is_better: frozenset[str] = frozenset()
    notes: tuple[str, ...] = ()
