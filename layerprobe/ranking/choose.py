"""Which layers, by which score."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from layerprobe.errors import LayerprobeError
from layerprobe.geometry.resampling import interval, top_shares
from layerprobe.layers.selection import even_layers
from layerprobe.records import LayerGeometry, LayerMeasurement, Ranking

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Score:
    """A statistic that layers can be chosen by.

    Attributes:
        statistic: its name among a layer's statistics.
        text: what it is, in a few words.
        family: the family of statistics that it comes from; None: always there.
    """

    statistic: str
    text: str
    family: str | None = None


SCORES: Mapping[str, Score] = {
    "quality": Score("quality", "knowledge quality Q = S + sqrt(I * E)"),
    "quality-normalised": Score("quality_normalised", "Q with I relative to the largest value it can take"),
    "separation": Score("separation", "S, intra-class minus inter-class cosine"),
    "information": Score("information", "I, spread of each class's features"),
    "efficiency": Score("efficiency", "E, gap between classes relative to feature length"),
    "sqrt-ie": Score("sqrt_ie", "sqrt(I * E): Q without S"),
    "probe": Score("probe_accuracy", "accuracy of a linear probe on held-out images", "probe"),
    "logme": Score("logme", "logarithm of maximum evidence", "logme"),
    "depth": Score("depth", "the last layers"),
}
"""The scores that layers can be chosen by, as ``--by`` names them."""


@dataclass(frozen=True)
class Choice:
    """How many layers, and which.

    Attributes:
        top: k.
        by: a key of ``SCORES``.
        level: of the intervals, between 0 and 1.

    Raises:
        LayerprobeError: if the score is unknown, or the level isn't between 0 and 1.
    """

    top: int = 4
    by: str = "quality"
    level: float = 0.9

    def __post_init__(self) -> None:
        if self.by not in SCORES:
            raise LayerprobeError(f"no score {self.by!r}; --by is one of {', '.join(SCORES)}")
        if not 0 < self.level < 1:
            raise LayerprobeError(f"--level is between 0 and 1, not {self.level}")

    @property
    def statistic(self) -> str:
        """The statistic that the layers are chosen by."""
        return SCORES[self.by].statistic


def check_count(choice: Choice, layers: int) -> None:
    """Refuse to choose more layers than there are.

    Raises:
        LayerprobeError: if k isn't between 1 and the number of layers.
    """
    if not 1 <= choice.top <= layers:
        raise LayerprobeError(f"--top is {choice.top}, but the file has {layers} layers; choose 1 to {layers}")


def choose(measurements: Sequence[LayerMeasurement], choice: Choice, provenance: Mapping[str, Any]) -> Ranking:
    """The layers of highest score, with intervals where the scores were resampled.

    Args:
        measurements: of every layer, in execution order.
        choice: how many, by which score.
        provenance: of the ranking.

    Raises:
        LayerprobeError: if there are fewer layers than are to be chosen, or fewer that have a score.
    """
    check_count(choice, len(measurements))
    statistic = choice.statistic
    last = max(len(measurements) - 1, 1)
    geometries = [
        LayerGeometry(one.layer, {**one.numbers, "depth": place / last}, _intervals(one, choice.level))
        for place, one in enumerate(measurements)
    ]
    deviations = {
        one.layer.name: one.arrays[f"deviations {statistic}"]
        for one in measurements
        if f"deviations {statistic}" in one.arrays
    }
    values = {geometry.layer.name: geometry.statistics[statistic] for geometry in geometries}
    selected = select(geometries, choice.top, statistic)
    even = _evenly_spread(measurements, choice.top)
    if not deviations:
        return Ranking(tuple(geometries), statistic, selected, provenance, (), even)
    shares = top_shares(deviations, values, choice.top)
    shared = tuple(
        LayerGeometry(one.layer, one.statistics, one.intervals, shares[one.layer.name]) for one in geometries
    )
    undecided = _undecided(values, deviations, selected, choice.level)
    return Ranking(shared, statistic, selected, provenance, undecided, even)


def _intervals(one: LayerMeasurement, level: float) -> dict[str, Any]:
    prefix = "deviations "
    return {
        name.removeprefix(prefix): interval(one.numbers[name.removeprefix(prefix)], values, level)
        for name, values in one.arrays.items()
        if name.startswith(prefix)
    }


def _undecided(
    values: Mapping[str, float], deviations: Mapping[str, Tensor], selected: Sequence[str], level: float
) -> tuple[str, ...]:
    """Layers that can't be told apart from the lowest that was chosen; differences are paired, draw by draw."""
    lowest = min(selected, key=values.__getitem__)
    return tuple(
        name
        for name in values
        if name not in selected
        and interval(values[lowest] - values[name], deviations[lowest] - deviations[name], level).low <= 0
    )


def _evenly_spread(measurements: Sequence[LayerMeasurement], count: int) -> tuple[str, ...]:
    try:
        return tuple(layer.name for layer in even_layers([one.layer for one in measurements], count, ""))
    except LayerprobeError:
        return ()


def select(geometries: Sequence[LayerGeometry], top: int, statistic: str) -> tuple[str, ...]:
    """Names of the ``top`` layers with the highest score, in order of depth. Layers whose score is NaN don't count.

    Raises:
        LayerprobeError: if fewer than ``top`` layers have a score.
    """
    scored = [geometry for geometry in geometries if not math.isnan(geometry.statistics[statistic])]
    if len(scored) < top:
        raise LayerprobeError(
            f"only {len(scored)} of {len(geometries)} layers have a value of {statistic!r}, fewer than --top {top}: "
            "the sample needs two images in each of two classes at least, with different features"
        )
    if without := [geometry.layer.name for geometry in geometries if math.isnan(geometry.statistics[statistic])]:
        _log.warning("%s is not defined for %s: some class has no variance there", statistic, ", ".join(without))
    best = sorted(scored, key=lambda geometry: geometry.statistics[statistic], reverse=True)[:top]
    return tuple(g.layer.name for g in sorted(best, key=lambda geometry: geometry.layer.index))
