"""What was changed of weights that another form of a network is started from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from layerprobe.records.fields import Name, Text

ADAPTED, TEACHER_ADAPTED = "adapted", "teacher_adapted"
"""The keys of a run's configuration under which the adaptations of the trained network, and of its teacher, stand; the
first one is also a key in the header of a weights file."""
Part = Literal["classifier", "stem", "patch embedding", "position embeddings"]


@dataclass(frozen=True)
class Adaptation:
    """A part of a network that does not have the weights of the file as they stand there.

    Attributes:
        part: of the network.
        how: what was done, such as ``new, with initial weights``.
        tensors: the shape that each tensor has in the file and in the network, by the tensor's name.
    """

    part: Part
    how: Text
    tensors: Mapping[Name, Text]

    def __str__(self) -> str:
        count = f"{len(self.tensors)} tensor{'s' if len(self.tensors) > 1 else ''}"
        shapes = "; ".join(f"{name} {shapes}" for name, shapes in self.tensors.items())
        return f"{self.part}, {count}: {self.how} ({shapes})"


def adaptations(config: Mapping[str, Any], key: str) -> tuple[Adaptation, ...]:
    """What the whole configuration of a run says under one of the keys above; of many runs nothing."""
    return tuple(Adaptation(**one) for one in config.get(key) or ())


def in_brief(adapted: Iterable[Adaptation]) -> str:
    """Parts and what was done, without the tensors, for tables."""
    return ", ".join(f"{one.part} {one.how}" for one in adapted)
