"""What an objective is built for."""

from __future__ import annotations

from dataclasses import dataclass, field

from layerprobe.distill.losses.feature_loss import FeatureLoss, load_feature_loss
from layerprobe.distill.pairing import Pairing
from layerprobe.distill.projectors import MakeProjector, load_projector
from layerprobe.settings.alignment import AlignmentSettings


@dataclass(frozen=True)
class ObjectiveContext:
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
    alignment: AlignmentSettings = field(default_factory=AlignmentSettings)

    @property
    def loss(self) -> FeatureLoss:
        """The feature loss that was chosen."""
        return load_feature_loss(self.alignment.feature_loss)

    @property
    def projector(self) -> MakeProjector:
        """What makes the projectors that were chosen, from the student's and the teacher's shape of one image."""
        return load_projector(self.alignment.projector)
