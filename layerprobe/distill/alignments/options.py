"""How feature-only brings features together: what the user says, checked."""

from __future__ import annotations

import math
from dataclasses import dataclass

from layerprobe.distill.alignments.catalogue import ALIGNMENTS, ATTENTION, PROJECTORS
from layerprobe.distill.losses.catalogue import FEATURE_LOSSES
from layerprobe.distill.mappings import check_mapping, is_table, table_entries
from layerprobe.errors import LayerprobeError, closest
from layerprobe.plugins import split_file_name


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
            if split_file_name(value):
                known.find(value)
            elif value not in known:
                raise LayerprobeError(f"{option} is one of {', '.join(known)}; not {value!r}; {closest(value, known)}")
        check_mapping(self.mapping)
        entry = ALIGNMENTS.find(self.name)
        if self.mapping == ATTENTION and not entry.by_attention:
            raise LayerprobeError(
                f"--mapping attention weighs projected features; {self.name} is one to one, full or a table"
            )
        if self.by_class and not entry.by_class:
            raise LayerprobeError(f"--by-class is a form of geometry and moments; {self.name} has no classes")
        if self.projector != "one-layer" and not entry.projects:
            raise LayerprobeError(f"--projector is for projector and moments; {self.name} projects nothing")
        if self.loss != "mse" and not entry.compares:
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
    def label(self) -> str:
        """What tells this form from the paper's, for tables; empty: nothing does."""
        default = Alignment()
        parts = [ALIGNMENTS.find(self.name).label if self.name != default.name else ""]
        parts += ["by class" if self.by_class else ""]
        projector, loss = PROJECTORS.find(self.projector).label, FEATURE_LOSSES.find(self.loss).label
        parts += [f"{projector} projector" if self.projector != default.projector else ""]
        parts += [loss if self.loss != default.loss else ""]
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
