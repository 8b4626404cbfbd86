"""What was changed of weights that another form of a network is started from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from layerprobe.records.fields import Name, Text

ADAPTED = "adapted"
"""The key of a run's configuration under which its adaptations stand."""
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
