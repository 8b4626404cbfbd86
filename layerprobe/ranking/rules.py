"""Rules that choose a teacher's layers for given student layers: which of them teaches which."""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from layerprobe.errors import LayerprobeError
from layerprobe.layers.discovery import is_channels_last
from layerprobe.layers.selection import even_layers
from layerprobe.ranking.choose import SCORES, select
from layerprobe.records import Layer, Ranking, Similarity, body_layers
from layerprobe.settings.run import DistillSettings

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Task:
    """What a rule chooses for.

    Attributes:
        ranking: the teacher's layers with their statistics, in execution order.
        student: the student's layers, in execution order.
        taught: those of them that shall learn, in order of depth.
        generator: for a rule that draws.
        similarity: linear CKA of the teacher's layers with the taught layers of the untrained student, for a rule that
            says that it looks at it; else None.
    """

    ranking: Ranking
    student: Sequence[Layer]
    taught: Sequence[Layer]
    generator: torch.Generator
    similarity: Similarity | None = None

    @property
    def teacher(self) -> list[Layer]:
        """The teacher's layers."""
        return [geometry.layer for geometry in self.ranking.geometries]


Choose = Callable[[Task], tuple[str, ...]]
"""From a task to names of the teacher's layers, one for each taught student layer, in order of depth."""


@dataclass(frozen=True)
class Rule:
    """A way to choose a teacher's layers.

    Attributes:
        choose: does it.
        text: what it takes, in a few words.
        score: a key of ``SCORES`` that must have been measured; None: it looks at no score.
        similarity: whether it looks at what teacher and student have in common.
    """

    choose: Choose
    text: str
    score: str | None = None
    similarity: bool = False


def best(task: Task, score: str) -> tuple[str, ...]:
    """The layers of highest score, wherever they lie: with ``quality`` the rule of Cooper et al. (arXiv 2511.14981)."""
    return select(task.ranking.geometries, len(task.taught), SCORES[score].statistic)


def evenly_spread(task: Task) -> tuple[str, ...]:
    """Layers spread evenly over the teacher's blocks, ending at the last one: the last block of every window."""
    return _names(even_layers(task.teacher, len(task.taught), "the teacher"))


def evenly_to_the_last_good(
    task: Task, score: str, threshold_of: Callable[[Sequence[float]], float]
) -> tuple[str, ...]:
    """Evenly spread blocks, ending at the deepest one that is good: whose score is no less than a threshold.

    Of a network whose last block is good it is ``evenly_spread``; of one whose features collapse towards the classes
    before its end, it ends before them. Of as many blocks as are to be chosen, or fewer, it takes the first ones. A
    threshold that is a mean counts the collapsed blocks too: the more there are, the lower it is, and a score that
    falls slowly loses its end as well.

    Args:
        task: what to choose for.
        score: a key of ``SCORES``.
        threshold_of: from the blocks' known scores to the least that a good block has.
    """
    body = body_layers(task.teacher)
    _check_enough(body, task)
    values = _values(task, score)
    known = [values[block.name] for block in body if not math.isnan(values[block.name])]
    if not known:
        raise _no_values(body, score)
    threshold = min(threshold_of(known), max(known))  # rounding may lift the mean of equal values above them
    end = max(number for number, block in enumerate(body, start=1) if values[block.name] >= threshold)
    return _names(even_layers(body[: max(end, len(task.taught))], len(task.taught), "the teacher"))


def half_of_the_highest(values: Sequence[float]) -> float:
    """Half of the highest value, of a score that is never negative."""
    return max(values) / 2


def last(task: Task) -> tuple[str, ...]:
    """The last blocks."""
    body = body_layers(task.teacher)
    _check_enough(body, task)
    return _names(body[-len(task.taught) :])


def drawn(task: Task) -> tuple[str, ...]:
    """Blocks drawn at random without replacement, all sets equally likely."""
    body = body_layers(task.teacher)
    _check_enough(body, task)
    places = torch.randperm(len(body), generator=task.generator)[: len(task.taught)]
    return _names([body[place] for place in sorted(places.tolist())])


def stagewise(task: Task, score: str) -> tuple[str, ...]:
    """For each student layer the best-scoring teacher block within its window of depth.

    A student layer's window are the teacher's blocks that are, counted in blocks, deeper than the student layer before
    it and no deeper than itself, both relative to their network. So the choice follows the score, and keeps to the
    student's order. Where the last block of every window scores best, it takes blocks as deep as the student's.
    """
    values = _values(task, score)
    return tuple(_best_of(window, values, score) for window in _windows_of_depth(task))


def stagewise_resolution(task: Task, score: str) -> tuple[str, ...]:
    """The best-scoring teacher blocks among those whose maps are as large as the student layer's, or nearest to it.

    Student layers that share a window get as many blocks as they are, the best-scoring, in order of depth. Where either
    network has tokens for maps, which all have one resolution, it is ``stagewise``: the windows are of depth.
    """
    body = body_layers(task.teacher)
    if not all(_has_map(layer) for layer in (*body, *task.taught)):
        _log.info("tokens have no resolution: windows of depth in place of windows of resolution")
        return stagewise(task, score)
    values = _values(task, score)
    areas = [_nearest({_area(block) for block in body}, _area(layer)) for layer in task.taught]
    chosen: set[str] = set()
    for area in dict.fromkeys(areas):
        window, count = [block for block in body if _area(block) == area], areas.count(area)
        scored = [block for block in window if not math.isnan(values[block.name])]
        if len(scored) < count:
            height, width = _sides(window[0])
            raise LayerprobeError(
                f"{count} student layers are nearest to the resolution {height}x{width}, where {len(scored)} of the "
                f"teacher's blocks have a value of {SCORES[score].statistic!r}; choose fewer layers, or 'stagewise'"
            )
        best = sorted(scored, key=lambda block: values[block.name], reverse=True)[:count]
        chosen.update(block.name for block in best)
    return _names([block for block in body if block.name in chosen])


def stagewise_reach(task: Task, score: str) -> tuple[str, ...]:
    """For each student layer the teacher block within its window of depth that is good and within the student's reach.

    It has the highest ``z(score) + z(CKA)``: linear CKA with that layer of the untrained student says how near the
    student's architecture is to it before it has learnt anything. Both are standardised over the teacher's blocks,
    ``z = (value - mean) / standard deviation``, so that either counts as much as the other; one that is the same for
    all counts nothing.

    Raises:
        ValueError: if the task has no similarity.
    """
    if task.similarity is None:
        raise ValueError("the rule needs the similarity of the teacher's layers to the student's")
    names = [block.name for block in body_layers(task.teacher)]
    rows = {layer.name: row for row, layer in enumerate(task.similarity.first)}
    columns = {layer.name: column for column, layer in enumerate(task.similarity.second)}
    values = _values(task, score)
    quality = _standardised({name: values[name] for name in names})
    chosen = []
    for layer, window in zip(task.taught, _windows_of_depth(task), strict=True):
        column = columns[layer.name]
        near = _standardised({name: float(task.similarity.cka[rows[name], column]) for name in names})
        chosen.append(_best_of(window, {name: quality[name] + near[name] for name in names}, score))
    return tuple(chosen)


def _windows_of_depth(task: Task) -> list[tuple[Layer, ...]]:
    """A window of the teacher's blocks for every taught layer, one after the other."""
    body, own = body_layers(task.teacher), body_layers(task.student)
    _check_enough(body, task)
    windows = []
    start = 0
    for number, layer in enumerate(task.taught):
        left = len(task.taught) - 1 - number
        depth = sum(1 for block in own if block.index <= layer.index) / len(own)
        end = min(max(math.ceil(depth * len(body)), start + 1), len(body) - left)
        windows.append(tuple(body[start:end]))
        start = end
    return windows


def _values(task: Task, score: str) -> dict[str, float]:
    statistic = SCORES[score].statistic
    return {one.layer.name: one.statistics[statistic] for one in task.ranking.geometries}


def _best_of(window: Sequence[Layer], values: Mapping[str, float], score: str) -> str:
    scored = [layer.name for layer in window if not math.isnan(values[layer.name])]
    if not scored:
        raise _no_values(window, score)
    return max(scored, key=values.__getitem__)


def _no_values(layers: Sequence[Layer], score: str) -> LayerprobeError:
    return LayerprobeError(
        f"no layer from {layers[0].name} to {layers[-1].name} has a value of {SCORES[score].statistic!r}; "
        "choose by another score"
    )


def _standardised(values: Mapping[str, float]) -> dict[str, float]:
    """Less their mean, in standard deviations; 0 where they are all alike. NaN stays NaN, and is left out of both."""
    known = [value for value in values.values() if not math.isnan(value)]
    mean = statistics.fmean(known) if known else math.nan
    deviation = statistics.pstdev(known) if known else math.nan
    return {name: (value - mean) / deviation if deviation else 0.0 * value for name, value in values.items()}


def _has_map(layer: Layer) -> bool:
    return len(layer.shape) == 3 and not layer.folded


def _area(layer: Layer) -> int:
    return math.prod(_sides(layer))


def _sides(layer: Layer) -> tuple[int, ...]:
    return layer.shape[:-1] if is_channels_last(layer.shape) else layer.shape[1:]


def _nearest(areas: Collection[int], area: int) -> int:
    """The area that differs by the smallest factor; of two alike the larger, of which the smaller can be pooled."""
    return min(areas, key=lambda other: (abs(math.log(other / area)), -other))


def _names(layers: Sequence[Layer]) -> tuple[str, ...]:
    return tuple(layer.name for layer in layers)


def _check_enough(body: Sequence[Layer], task: Task) -> None:
    if len(body) < len(task.taught):
        raise LayerprobeError(
            f"the teacher has {len(body)} blocks, fewer than the {len(task.taught)} layers to pair; choose fewer layers"
        )


RULES: Mapping[str, Rule] = {
    **{name: Rule(partial(best, score=name), score.text, name) for name, score in SCORES.items()},
    "even": Rule(evenly_spread, "spread evenly over the blocks"),
    "even-quality": Rule(
        partial(evenly_to_the_last_good, score="quality", threshold_of=statistics.fmean),
        "spread evenly, ending at the deepest block of at least mean quality",
        "quality",
    ),
    "even-information": Rule(
        partial(evenly_to_the_last_good, score="information", threshold_of=half_of_the_highest),
        "spread evenly, ending at the deepest block with half of the highest information",
        "information",
    ),
    "last": Rule(last, "the last blocks"),
    "random": Rule(drawn, "blocks drawn at random, anew for every seed"),
    "stagewise": Rule(partial(stagewise, score="quality"), "the highest quality in each window of depth", "quality"),
    "stagewise-resolution": Rule(
        partial(stagewise_resolution, score="quality"), "the highest quality at the resolution of each", "quality"
    ),
    "stagewise-reach": Rule(
        partial(stagewise_reach, score="quality"),
        "in each window of depth the highest quality that is near the untrained student, too",
        "quality",
        similarity=True,
    ),
    **{
        f"stagewise-{name}": Rule(partial(stagewise, score=name), f"the highest {name} in each window of depth", name)
        for name in SCORES
        if name not in ("quality", "depth")
    },
}
"""Every rule by its name: ``NAME:K`` chooses K layers."""


def scored_rule(plan: DistillSettings) -> str | None:
    """The score that the rule of a distillation looks at; None where its layers are chosen in another way."""
    return RULES[plan.layers.rule.name].score if plan.layers and plan.layers.rule else None
