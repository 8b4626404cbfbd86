"""Pairs of layers: which student layer learns from which teacher layer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from layerprobe.records import Layer, Shape


@dataclass(frozen=True)
class Pairing:
    """Pairs of layers: the i-th student layer learns from the i-th teacher layer.

    Attributes:
        student: the student's layers, in order of depth; one that learns from several stands there several times.
        teacher: as many of the teacher's.
    """

    student: tuple[Layer, ...]
    teacher: tuple[Layer, ...]

    @property
    def names(self) -> tuple[tuple[str, str], ...]:
        """Names of student and teacher layer, pair by pair."""
        return tuple((ours.name, theirs.name) for ours, theirs in zip(self.student, self.teacher, strict=True))

    def comparing(self, tokens: str) -> Pairing:
        """The same pairs, whose shapes know which tokens are compared: ``patches``, ``cls`` or ``all``."""
        sides = (self.student, self.teacher)
        return Pairing(
            *(tuple(replace(layer, shape=Shape(layer.shape, layer.layout, tokens)) for layer in side) for side in sides)
        )


NO_PAIRS = Pairing((), ())
"""Of a method without features."""


def one_to_one(student: Sequence[Layer], teacher: Sequence[Layer]) -> Pairing:
    """The i-th student layer with the i-th teacher layer."""
    return Pairing(tuple(student), tuple(teacher))


def full_pairing(student: Sequence[Layer], teacher: Sequence[Layer]) -> Pairing:
    """Every student layer with every teacher layer."""
    pairs = [(ours, theirs) for ours in student for theirs in teacher]
    return Pairing(tuple(ours for ours, _ in pairs), tuple(theirs for _, theirs in pairs))


def distinct(layers: Iterable[Layer]) -> tuple[Layer, ...]:
    """Layers in order of depth, each once."""
    return tuple(sorted(dict.fromkeys(layers), key=lambda layer: layer.index))
