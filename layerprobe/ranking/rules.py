"""Rules that choose a teacher's layers for given student layers: which of them teaches which."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from layerprobe.errors import LayerprobeError
from layerprobe.models.selection import body_layers, even_layers
from layerprobe.ranking.choose import SCORES, select
from layerprobe.types import Layer, LayerGeometry, Ranking


@dataclass(frozen=True)
class Task:
    """What a rule chooses for.

    Attributes:
        ranking: the teacher's layers with their statistics, in execution order.
        student: the student's layers, in execution order.
        taught: those of them that shall learn, in order of depth.
        generator: for a rule that draws.
    """

    ranking: Ranking
    student: Sequence[Layer]
    taught: Sequence[Layer]
    generator: torch.Generator

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
    """

    choose: Choose
    text: str
    score: str | None = None


def best(task: Task, score: str) -> tuple[str, ...]:
    """The layers of highest score, wherever they lie: with ``quality`` the rule of Cooper et al. (arXiv 2511.14981)."""
    return select(task.ranking.geometries, len(task.taught), SCORES[score].statistic)


def evenly_spread(task: Task) -> tuple[str, ...]:
    """Layers spread evenly over the teacher's blocks, ending at the last one: the last block of every window."""
    return _names(even_layers(task.teacher, len(task.taught), "the teacher"))


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
    body, own = body_layers(task.teacher), body_layers(task.student)
    _check_enough(body, task)
    geometries = {geometry.layer.name: geometry for geometry in task.ranking.geometries}
    chosen: list[str] = []
    start = 0
    for number, layer in enumerate(task.taught):
        left = len(task.taught) - 1 - number
        depth = sum(1 for block in own if block.index <= layer.index) / len(own)
        end = min(max(math.ceil(depth * len(body)), start + 1), len(body) - left)
        window = [geometries[block.name] for block in body[start:end]]
        chosen.append(_best_of(window, SCORES[score].statistic))
        start = end
    return tuple(chosen)


def _best_of(window: Sequence[LayerGeometry], statistic: str) -> str:
    scored = [one for one in window if not math.isnan(one.statistics[statistic])]
    if not scored:
        raise LayerprobeError(
            f"no layer from {window[0].layer.name} to {window[-1].layer.name} has a value of {statistic!r}; "
            "choose by another score"
        )
    return max(scored, key=lambda one: one.statistics[statistic]).layer.name


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
    "last": Rule(last, "the last blocks"),
    "random": Rule(drawn, "blocks drawn at random, anew for every seed"),
    "stagewise": Rule(partial(stagewise, score="quality"), "the highest quality in each window of depth", "quality"),
    **{
        f"stagewise-{name}": Rule(partial(stagewise, score=name), f"the highest {name} in each window of depth", name)
        for name in SCORES
        if name not in ("quality", "depth")
    },
}
"""Every rule by its name: ``NAME:K`` chooses K layers."""


@dataclass(frozen=True)
class Wish:
    """A rule and how many layers it shall choose.

    Attributes:
        name: a key of ``RULES``.
        count: k.
    """

    name: str
    count: int

    @property
    def rule(self) -> Rule:
        """The rule."""
        return RULES[self.name]


def read_wish(text: str) -> Wish | None:
    """``RULE:K`` as a wish; None where the text is of another kind, such as layers' names.

    Example:
        >>> read_wish("stagewise:4")
        Wish(name='stagewise', count=4)
        >>> read_wish("every:4") is None and read_wish("layer3.6") is None
        True
    """
    found = re.fullmatch(r"([a-z-]+):([1-9]\d*)", text)
    return Wish(found[1], int(found[2])) if found and found[1] in RULES else None
