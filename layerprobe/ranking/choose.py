"""Which layers, by which score."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from layerprobe.errors import LayerprobeError
from layerprobe.geometry.catalogue import SCORES, Statistic
from layerprobe.geometry.resampling import interval, top_shares
from layerprobe.layers.selection import even_layers
from layerprobe.records import Interval, LayerGeometry, Ranking

_log = logging.getLogger(__name__)

_DEVIATIONS = "deviations "
"""How the names of the arrays begin that intervals are made from."""


@dataclass(frozen=True)
class Choice:
    """How many layers, and which.

    Attributes:
        top: k.
        by: a score, see ``layerprobe.geometry.catalogue.SCORES``.
        level: of the intervals, between 0 and 1.

    Raises:
        LayerprobeError: if there is no such score, or the level isn't between 0 and 1.
    """

    top: int = 4
    by: str = "quality"
    level: float = 0.9

    def __post_init__(self) -> None:
        SCORES.find(self.by)
        if not 0 < self.level < 1:
            raise LayerprobeError(f"--level is between 0 and 1, not {self.level}")

    @property
    def score(self) -> Statistic:
        """The statistic that the layers are chosen by."""
        return SCORES.find(self.by)


def check_count(choice: Choice, layers: int) -> None:
    """Refuse to choose more layers than there are.

    Raises:
        LayerprobeError: if k isn't between 1 and the number of layers.
    """
    if not 1 <= choice.top <= layers:
        raise LayerprobeError(f"--top is {choice.top}, but the file has {layers} layers; choose 1 to {layers}")


def choose(measured: Sequence[LayerGeometry], choice: Choice, provenance: Mapping[str, Any]) -> Ranking:
    """Choose the layers of best score, with intervals if the scores were resampled.

    Args:
        measured: every layer, in execution order.
        choice: how many, by which score.
        provenance: of the ranking.

    Raises:
        LayerprobeError: if there are fewer layers than are to be chosen, or fewer that have a score.
    """
    check_count(choice, len(measured))
    score = choice.score
    selected = select(measured, choice.top, score)
    even = _evenly_spread(measured, choice.top)
    array = f"{_DEVIATIONS}{score.name}"
    deviations = {one.layer.name: score.sign * one.arrays[array] for one in measured if array in one.arrays}
    values = {one.layer.name: score.sign * one.statistics[score.name] for one in measured}
    shares = top_shares(deviations, values, choice.top) if deviations else {}
    geometries = tuple(
        replace(one, intervals=_intervals(one, choice.level), top_share=shares.get(one.layer.name)) for one in measured
    )
    undecided = _undecided(values, deviations, selected, choice.level) if deviations else ()
    return Ranking(geometries, score.name, selected, provenance, undecided, even)


def _intervals(one: LayerGeometry, level: float) -> dict[str, Interval]:
    return {
        name: interval(one.statistics[name], values, level)
        for array, values in one.arrays.items()
        if array.startswith(_DEVIATIONS) and (name := array.removeprefix(_DEVIATIONS))
    }


def _undecided(
    values: Mapping[str, float], deviations: Mapping[str, Tensor], selected: Sequence[str], level: float
) -> tuple[str, ...]:
    """Layers that can't be told apart from the lowest that was chosen; differences are paired, draw by draw."""
    lowest = min(selected, key=values.__getitem__)
    return tuple(
        name
        for name in deviations
        if name not in selected
        and interval(values[lowest] - values[name], deviations[lowest] - deviations[name], level).low <= 0
    )


def _evenly_spread(measured: Sequence[LayerGeometry], count: int) -> tuple[str, ...]:
    try:
        return tuple(layer.name for layer in even_layers([one.layer for one in measured], count, ""))
    except LayerprobeError:
        return ()


def select(geometries: Sequence[LayerGeometry], top: int, score: Statistic) -> tuple[str, ...]:
    """Name the ``top`` layers of best score, in order of depth. Layers whose score is NaN don't count.

    Raises:
        LayerprobeError: if fewer than ``top`` layers have a score.
    """
    scored = [one for one in geometries if not (one.undefined or math.isnan(one.statistics[score.name]))]
    if len(scored) < top:
        raise LayerprobeError(_too_few(geometries, len(scored), top, score))
    without = [one.layer.name for one in geometries if one not in scored and not one.undefined]
    if without:
        _log.warning("%s is not defined for %s: some class has no variance there", score.name, ", ".join(without))
    best = sorted(scored, key=lambda geometry: score.sign * geometry.statistics[score.name], reverse=True)[:top]
    return tuple(one.layer.name for one in sorted(best, key=lambda geometry: geometry.layer.index))


def _too_few(geometries: Sequence[LayerGeometry], scored: int, top: int, score: Statistic) -> str:
    broken = [one.layer.name for one in geometries if one.undefined]
    why = f"features that are not finite have none ({', '.join(broken)})" if broken else ""
    if scored + len(broken) < len(geometries):
        sample = "the sample needs two images in each of two classes at least, with different features"
        why = f"{why}, and {sample}" if why else sample
    state = f"{scored} of {len(geometries)} layers have a value of {score.name!r}, fewer than --top {top}"
    return f"only {state}: {why}" + (f"; choose {scored} or fewer" if scored else "")
