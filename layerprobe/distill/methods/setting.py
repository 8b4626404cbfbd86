"""What an objective is built for."""

from __future__ import annotations

from dataclasses import dataclass, field

from layerprobe.distill.alignments.options import Alignment
from layerprobe.distill.pairing import Pairing


@dataclass(frozen=True)
class Setting:
    """What a method may want to know before its modules are made.

    Attributes:
        pairing: the pairs of layers, as the mapping has them; empty for a method without features.
        batch_size: images per batch, at most.
        classes: how many classes the images have.
        alignment: the form of feature-only.
    """

    pairing: Pairing
    batch_size: int = 128
    classes: int = 10
    alignment: Alignment = field(default_factory=Alignment)
