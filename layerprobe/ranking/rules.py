"""The functions behind the catalogue of rules: which of a teacher's layers teach given student layers."""

from __future__ import annotations

import logging
import math
import statistics
from collections.abc import Callable, Collection, Mapping, Sequence

import torch

from layerprobe.errors import LayerprobeError
from layerprobe.layers.selection import even_layers
from layerprobe.ranking.choose import select
from layerprobe.ranking.problem import SelectionProblem
from layerprobe.records import Layer, body_layers
from layerprobe.records.layout import MAP

_log = logging.getLogger(__name__)


def best(problem: SelectionProblem) -> tuple[str, ...]:
    """The layers of best score, wherever they lie: with ``quality`` the rule of Cooper et al. (arXiv 2511.14981)."""
    return select(problem.ranking.geometries, problem.count, problem.statistic)


def evenly_spread(problem: SelectionProblem) -> tuple[str, ...]:
    """Layers spread evenly over the teacher's blocks, ending at the last one: the last block of every window."""
    return _names(even_layers(problem.teacher, problem.count, "the teacher"))


def evenly_to_the_mean(problem: SelectionProblem) -> tuple[str, ...]:
    """Evenly spread blocks, ending at the deepest one whose score is at least the mean of all."""
    return _evenly_to_the_last_good(problem, statistics.fmean)


def evenly_to_the_half(problem: SelectionProblem) -> tuple[str, ...]:
    """Evenly spread blocks, ending at the deepest one with half of the highest score, which is never negative."""
    return _evenly_to_the_last_good(problem, lambda values: max(values) / 2)


def _evenly_to_the_last_good(
    problem: SelectionProblem, threshold_of: Callable[[Sequence[float]], float]
) -> tuple[str, ...]:
    """Evenly spread blocks, ending at the deepest one that is good: whose score is no less than a threshold.

    Of a network whose last block is good it is ``evenly_spread``; of one whose features collapse towards the classes
    before its end, it ends before them. Of as many blocks as are to be chosen, or fewer, it takes the first ones. A
    threshold that is a mean counts the collapsed blocks too: the more there are, the lower it is, and a score that
    falls slowly loses its end as well.

    Args:
        problem: what to choose for.
        threshold_of: from the blocks' known scores to the least that a good block has.
    """
    body = problem.blocks
    _check_enough(body, problem)
    values = problem.values
    known = [values[block.name] for block in body if not math.isnan(values[block.name])]
    if not known:
        raise _no_values(body, problem)
    threshold = min(threshold_of(known), max(known))  # rounding may lift the mean of equal values above them
    end = max(number for number, block in enumerate(body, start=1) if values[block.name] >= threshold)
    return _names(even_layers(body[: max(end, problem.count)], problem.count, "the teacher"))


def last(problem: SelectionProblem) -> tuple[str, ...]:
    """The last blocks."""
    body = problem.blocks
    _check_enough(body, problem)
    return _names(body[-problem.count :])


def drawn(problem: SelectionProblem) -> tuple[str, ...]:
    """Blocks drawn at random without replacement, all sets equally likely."""
    body = problem.blocks
    _check_enough(body, problem)
    places = torch.randperm(len(body), generator=problem.generator)[: problem.count]
    return _names([body[place] for place in sorted(places.tolist())])


def stagewise(problem: SelectionProblem) -> tuple[str, ...]:
    """For each student layer the best-scoring teacher block within its window of depth.

    A student layer's window are the teacher's blocks that are, counted in blocks, deeper than the student layer before
    it and no deeper than itself, both relative to their network. So the choice follows the score, and keeps to the
    student's order. Where the last block of every window scores best, it takes blocks as deep as the student's.
    """
    values = problem.values
    return tuple(_best_of(window, values, problem) for window in _windows_of_depth(problem))


def stagewise_resolution(problem: SelectionProblem) -> tuple[str, ...]:
    """The best-scoring teacher blocks among those whose maps are as large as the student layer's, or nearest to it.

    Student layers that share a window get as many blocks as they are, the best-scoring, in order of depth. Where either
    network has tokens for maps, which all have one resolution, it is ``stagewise``: the windows are of depth.
    """
    body = problem.blocks
    if not all(_has_map(layer) for layer in (*body, *problem.student_layers)):
        _log.info("tokens have no resolution: layers are chosen within windows of depth instead")
        return stagewise(problem)
    values = problem.values
    areas = [_nearest({_area(block) for block in body}, _area(layer)) for layer in problem.student_layers]
    chosen: set[str] = set()
    for area in dict.fromkeys(areas):
        window, count = [block for block in body if _area(block) == area], areas.count(area)
        scored = [block for block in window if not math.isnan(values[block.name])]
        if len(scored) < count:
            height, width = window[0].layout.height, window[0].layout.width
            raise LayerprobeError(
                f"{count} student layers are nearest to the resolution {height}x{width}, where {len(scored)} of the "
                f"teacher's blocks have a value of {problem.score!r}; choose fewer layers, or 'stagewise'"
            )
        best = sorted(scored, key=lambda block: values[block.name], reverse=True)[:count]
        chosen.update(block.name for block in best)
    return _names([block for block in body if block.name in chosen])


def stagewise_reach(problem: SelectionProblem) -> tuple[str, ...]:
    """For each student layer the teacher block within its window of depth that is good and within the student's reach.

    It has the highest ``z(score) + z(CKA)``: linear CKA with that layer of the untrained student says how near the
    student's architecture is to it before any training. Both are standardised over the teacher's blocks,
    ``z = (value - mean) / standard deviation``, so that either counts as much as the other; one that is the same for
    all counts nothing.

    Raises:
        ValueError: if the problem has no similarity.
    """
    if problem.similarity is None:
        raise ValueError("the rule needs the similarity of the teacher's layers to the student's")
    names = [block.name for block in problem.blocks]
    rows = {layer.name: row for row, layer in enumerate(problem.similarity.first)}
    columns = {layer.name: column for column, layer in enumerate(problem.similarity.second)}
    values = problem.values
    quality = _standardised({name: values[name] for name in names})
    chosen = []
    for layer, window in zip(problem.student_layers, _windows_of_depth(problem), strict=True):
        column = columns[layer.name]
        near = _standardised({name: float(problem.similarity.cka[rows[name], column]) for name in names})
        chosen.append(_best_of(window, {name: quality[name] + near[name] for name in names}, problem))
    return tuple(chosen)


def _windows_of_depth(problem: SelectionProblem) -> list[tuple[Layer, ...]]:
    """A window of the teacher's blocks for every student layer that learns, one after the other."""
    body, own = problem.blocks, body_layers(problem.student)
    _check_enough(body, problem)
    windows = []
    start = 0
    for number, layer in enumerate(problem.student_layers):
        left = problem.count - 1 - number
        depth = sum(1 for block in own if block.index <= layer.index) / len(own)
        end = min(max(math.ceil(depth * len(body)), start + 1), len(body) - left)
        windows.append(tuple(body[start:end]))
        start = end
    return windows


def _best_of(window: Sequence[Layer], values: Mapping[str, float], problem: SelectionProblem) -> str:
    scored = [layer.name for layer in window if not math.isnan(values[layer.name])]
    if not scored:
        raise _no_values(window, problem)
    return max(scored, key=values.__getitem__)


def _no_values(layers: Sequence[Layer], problem: SelectionProblem) -> LayerprobeError:
    return LayerprobeError(
        f"no layer from {layers[0].name} to {layers[-1].name} has a value of {problem.score!r}; choose by another score"
    )


def _standardised(values: Mapping[str, float]) -> dict[str, float]:
    """Less their mean, in standard deviations; 0 where they are all alike. NaN stays NaN, and is left out of both."""
    known = [value for value in values.values() if not math.isnan(value)]
    mean = statistics.fmean(known) if known else math.nan
    deviation = statistics.pstdev(known) if known else math.nan
    return {name: (value - mean) / deviation if deviation else 0.0 * value for name, value in values.items()}


def _has_map(layer: Layer) -> bool:
    return len(layer.shape) == 3 and layer.layout.kind == MAP and not layer.folded


def _area(layer: Layer) -> int:
    return layer.layout.positions


def _nearest(areas: Collection[int], area: int) -> int:
    """The area that differs by the smallest factor; of two alike the larger, of which the smaller can be pooled."""
    return min(areas, key=lambda other: (abs(math.log(other / area)), -other))


def _names(layers: Sequence[Layer]) -> tuple[str, ...]:
    return tuple(layer.name for layer in layers)


def _check_enough(body: Sequence[Layer], problem: SelectionProblem) -> None:
    if len(body) < problem.count:
        raise LayerprobeError(
            f"the teacher has {len(body)} blocks, fewer than the {problem.count} layers to pair; choose fewer layers"
        )
