"""How feature-only brings features together: what the user says, checked, and the objective that it means."""

from __future__ import annotations

import math
from dataclasses import dataclass

from layerprobe.distill.alignments import ALIGNMENTS
from layerprobe.distill.alignments.attention import AttentionMapping
from layerprobe.distill.losses import FEATURE_LOSSES
from layerprobe.distill.mappings import ATTENTION, check_mapping, is_table, table_entries
from layerprobe.distill.methods.by_class import ClassAxes, ClassMoments
from layerprobe.distill.methods.with_logits import FeaturesAndLogits
from layerprobe.distill.objectives import ClassObjective, FeatureObjective, LabelledObjective
from layerprobe.distill.pairing import Pairing
from layerprobe.distill.projectors import PROJECTORS
from layerprobe.errors import LayerprobeError, closest


@dataclass(frozen=True)
class Alignment:
    """The form of ``feature-only``.

    Attributes:
        name: a key of ``ALIGNMENTS``.
        by_class: the form whose targets the labels shape, of ``geometry`` and ``moments``.
        projector: a key of ``PROJECTORS``, of ``projector`` and ``moments``.
        loss: a key of ``FEATURE_LOSSES``; ``relation`` has its own.
        mapping: ``one-to-one``; ``full``: every student layer learns from every teacher layer; ``attention``: likewise,
            weighted by learned attention, of ``projector``; or a table of pairs, student layer first:
            ``layer1.2=layer3.5,layer3.2=layer3.6``.
        cross_entropy: an ablation: cross entropy into the backbone, too.
        kl: an ablation: 16 KL of logits at temperature 4 into the backbone, too.
        feature_weight: of an ablation: what the features' terms are multiplied by.

    Raises:
        LayerprobeError: if a name is unknown, or these don't go together.
    """

    name: str = "projector"
    by_class: bool = False
    projector: str = "one-layer"
    loss: str = "mse"
    mapping: str = "one-to-one"
    cross_entropy: bool = False
    kl: bool = False
    feature_weight: float = 1.0

    def __post_init__(self) -> None:
        for option, value, known in (
            ("--alignment", self.name, ALIGNMENTS),
            ("--projector", self.projector, PROJECTORS),
            ("--feature-loss", self.loss, FEATURE_LOSSES),
        ):
            if value not in known:
                raise LayerprobeError(f"{option} is one of {', '.join(known)}; not {value!r}; {closest(value, known)}")
        check_mapping(self.mapping)
        if self.mapping == ATTENTION and self.name != "projector":
            raise LayerprobeError(
                f"--mapping attention weighs projected features; {self.name} is one to one, full or a table"
            )
        if self.by_class and self.name not in ("geometry", "moments"):
            raise LayerprobeError(f"--by-class is a form of geometry and moments; {self.name} has no classes")
        if self.projector != "one-layer" and self.name not in ("projector", "moments"):
            raise LayerprobeError(f"--projector is for projector and moments; {self.name} projects nothing")
        if self.loss != "mse" and self.name == "relation":
            raise LayerprobeError("--feature-loss is for features of one shape; relation compares cosines of images")
        if self.by_class and self.with_logits:
            raise LayerprobeError("--by-class and the ablations with logits are not combined; take one")
        if not 0 < self.feature_weight < math.inf:
            raise LayerprobeError(f"--feature-weight is a number above 0, not {self.feature_weight}")
        if self.feature_weight != 1 and not self.with_logits:
            raise LayerprobeError(
                "--feature-weight is of the ablations of feature-only: give it together with "
                "--cross-entropy-into-backbone or --kl; other methods have weights of their own"
            )

    @property
    def with_logits(self) -> bool:
        """Whether it is an ablation: terms of the logits reach the backbone beside those of the features."""
        return self.cross_entropy or self.kl

    @property
    def uses_labels(self) -> bool:
        """Whether labels reach the backbone in any way."""
        return self.by_class or self.cross_entropy

    @property
    def needs_logits(self) -> bool:
        """Whether the teacher's logits are needed."""
        return self.kl

    @property
    def label(self) -> str:
        """What tells this form from the paper's, for tables; empty: nothing does."""
        default = Alignment()
        parts = [self.name if self.name != default.name else ""]
        parts += ["by class" if self.by_class else ""]
        parts += [f"{self.projector} projector" if self.projector != default.projector else ""]
        parts += [self.loss if self.loss != default.loss else ""]
        parts += [self._mapping_label if self.mapping != default.mapping else ""]
        parts += [f"{self.feature_weight:g} x features" if self.feature_weight != default.feature_weight else ""]
        parts += ["+ cross entropy" if self.cross_entropy else "", "+ KL" if self.kl else ""]
        parts += ["uses labels" if self.uses_labels else ""]
        return ", ".join(filter(None, parts))

    @property
    def _mapping_label(self) -> str:
        if not is_table(self.mapping):
            return f"{self.mapping} mapping"
        return f"table of {len(table_entries(self.mapping))} pairs"


def feature_only(
    alignment: Alignment, pairing: Pairing, classes: int, batch_size: int = 128
) -> FeatureObjective | ClassObjective | LabelledObjective:
    """The objective that an alignment means.

    Args:
        alignment: the form of feature-only.
        pairing: the pairs of layers; with a full mapping or attention every student layer with every teacher layer.
        classes: how many classes the images have.
        batch_size: images per batch, at most.
    """
    loss, projector = FEATURE_LOSSES[alignment.loss], PROJECTORS[alignment.projector]
    if alignment.by_class:
        if alignment.name == "geometry":
            return ClassAxes(pairing, classes, loss)
        return ClassMoments(pairing, loss, projector)
    if alignment.mapping == ATTENTION:
        objective: FeatureObjective = AttentionMapping(pairing, batch_size, loss, projector)
    else:
        objective = ALIGNMENTS[alignment.name](pairing, loss, projector)
    if alignment.with_logits:
        return FeaturesAndLogits(objective, pairing, alignment.cross_entropy, alignment.kl, alignment.feature_weight)
    return objective
