"""A student that a method has put a part of the teacher into."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from layerprobe.distill.pairing import Pairing
from layerprobe.networks import Network


@dataclass(frozen=True)
class ChangedStudent:
    """What a method has made of a student.

    Attributes:
        module: the network to train.
        pairing: the layers that the objective sees.
        chosen: the layers of the student as it was and of the teacher, which a configuration names.
        description: what the network is built again from, for ``config.yaml``: a field of ``RunInformation``.
        new_modules: dotted paths of the modules that are not part of the backbone.
    """

    module: nn.Module
    pairing: Pairing
    chosen: Pairing
    description: Mapping[str, Any]
    new_modules: tuple[str, ...]


ChangeStudent = Callable[[Network, Network, Pairing, int], ChangedStudent]
"""Called with the student, the teacher, the chosen pairs of layers and the seed of new weights."""
