"""What a rule chooses for, and a rule applied to it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from layerprobe.errors import LayerprobeError
from layerprobe.geometry.catalogue import Statistic, described
from layerprobe.plugins import errors_in_one_line
from layerprobe.ranking.catalogue import Rule
from layerprobe.records import Layer, Ranking, Similarity, body_layers


@dataclass(frozen=True)
class SelectionProblem:
    """What a rule chooses for.

    Attributes:
        ranking: the teacher's layers with their statistics, in execution order.
        student: the student's layers, in execution order.
        student_layers: those of them that learn, in order of depth.
        generator: for a rule that draws.
        similarity: linear CKA of the teacher's layers with ``student_layers`` of the untrained student, if the rule
            declares that it looks at it, and else None.
        score: name of the statistic that the rule looks at, which ``apply_rule`` fills in.
    """

    ranking: Ranking
    student: Sequence[Layer]
    student_layers: Sequence[Layer]
    generator: torch.Generator
    similarity: Similarity | None = None
    score: str = ""

    @property
    def teacher(self) -> list[Layer]:
        """The teacher's layers."""
        return [geometry.layer for geometry in self.ranking.geometries]

    @property
    def blocks(self) -> tuple[Layer, ...]:
        """The teacher's blocks, or what ``body_layers`` has for them."""
        return body_layers(self.teacher)

    @property
    def count(self) -> int:
        """How many layers are to be chosen."""
        return len(self.student_layers)

    @property
    def statistic(self) -> Statistic:
        """What the rule looks at."""
        return described(self.score)

    @property
    def values(self) -> dict[str, float]:
        """The score of every teacher layer by name, higher for better layers: NC1, for example, has a minus."""
        sign = self.statistic.sign
        return {one.layer.name: sign * one.statistics[self.score] for one in self.ranking.geometries}


def apply_rule(rule: Rule, problem: SelectionProblem) -> tuple[str, ...]:
    """Name the teacher's layers that a rule chooses, one for each student layer that learns, in order of depth.

    Raises:
        LayerprobeError: if the rule can't choose so many, or a user's own fails or gives anything else.
    """
    problem = replace(problem, score=rule.score)
    if not rule.is_plugin:
        return _defined(rule.load()(problem), rule, problem)
    function = rule.load()
    with errors_in_one_line(rule.name, "a teacher and a student"):
        found = function(problem)
    return _defined(_checked(found, rule, problem), rule, problem)


def _defined(chosen: tuple[str, ...], rule: Rule, problem: SelectionProblem) -> tuple[str, ...]:
    """The layers that a rule chose; no student can learn from features that are not finite."""
    broken = {one.layer.name: one.undefined for one in problem.ranking.geometries if one.undefined}
    if found := next((name for name in chosen if name in broken), None):
        raise LayerprobeError(f"{rule.name} chose {found}, which has {broken[found]}; name the layers, or another rule")
    return chosen


def _checked(chosen: object, rule: Rule, problem: SelectionProblem) -> tuple[str, ...]:
    """What a user's own rule gives, if it is what a rule gives."""
    known = {layer.name: layer.index for layer in problem.teacher}
    count = problem.count
    names = tuple(chosen) if isinstance(chosen, (list, tuple)) else ()
    if len(names) != count or not all(isinstance(name, str) and name in known for name in names):
        said = " ".join(repr(chosen).split())
        raise LayerprobeError(f"{rule.name} gave {said:.80}; a rule gives the names of {count} of the teacher's layers")
    if list(names) != sorted(set(names), key=known.__getitem__):
        raise LayerprobeError(f"{rule.name} gave {', '.join(names)}; a rule gives each layer once, in order of depth")
    return names
