"""How feature-only brings the features of student and teacher together."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import model_validator
from typing_extensions import Self

from layerprobe.distill.alignments.catalogue import ALIGNMENTS, ATTENTION, PROJECTORS
from layerprobe.distill.losses.catalogue import FEATURE_LOSSES
from layerprobe.settings.base import OneOf, Positive, RefusedError, Settings
from layerprobe.settings.flags import Flag
from layerprobe.settings.layer_choice import Pairs


class AlignmentSettings(Settings):
    """The form of the method feature-only. The defaults are the form of Cooper et al., arXiv 2511.14981."""

    panel: ClassVar[str] = "Method"

    name: Annotated[str, OneOf(ALIGNMENTS)] = "projector"
    """How feature-only compares the student's features with the teacher's."""
    by_class: bool = False
    """Compare the geometry or the moments of each class apart. Labels shape the targets then."""
    projector: Annotated[str, OneOf(PROJECTORS)] = "one-layer"
    """The module that maps the student's features to the teacher's channels, for the alignments projector and
    moments."""
    feature_loss: Annotated[str, OneOf(FEATURE_LOSSES)] = "mse"
    """The loss between features of the same shape. The alignment relation has a loss of its own."""
    mapping: Annotated[Pairs, Flag(metavar="TEXT")] = Pairs()
    """Which student layer learns from which teacher layer: one-to-one; full, every student layer from every teacher
    layer; attention, the same with learned weights; or pairs with the student's layer first, such as
    layer1.2=layer3.5,layer3.2=layer3.6."""
    cross_entropy: bool = False
    """An ablation of feature-only in which cross entropy trains the backbone, too."""
    kl: bool = False
    """An ablation of feature-only in which the KL divergence of the logits, at temperature 4 and with weight 16, trains
    the backbone, too."""
    feature_weight: Positive = 1.0
    """The weight of the features' loss, with --cross-entropy or --kl."""

    @model_validator(mode="after")
    def _go_together(self) -> Self:
        form = ALIGNMENTS.find(self.name)
        if self.mapping.mapping == ATTENTION and not form.by_attention:
            raise RefusedError(
                f"<mapping> attention weighs projected features; {self.name} is one to one, full or a table"
            )
        if self.by_class and not form.by_class:
            forms = ", ".join(name for name, entry in ALIGNMENTS.items() if entry.by_class)
            raise RefusedError(f"<by_class> is a form of {forms}; {self.name} has no classes")
        if self.projector != _default("projector") and not form.projects:
            raise RefusedError(f"<projector> is for projector and moments; {self.name} projects nothing")
        if self.feature_loss != _default("feature_loss") and not form.compares:
            raise RefusedError(f"<feature_loss> is for features of one shape; {self.name} compares cosines of images")
        if self.by_class and self.with_logits:
            raise RefusedError("<by_class> and the ablations with logits are not combined; take one")
        if self.feature_weight != _default("feature_weight") and not self.with_logits:
            raise RefusedError(
                "<feature_weight> is of the ablations of feature-only: give it together with <cross_entropy> or <kl>; "
                "other methods have weights of their own"
            )
        return self

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
        named = (ALIGNMENTS, self.name), (PROJECTORS, self.projector), (FEATURE_LOSSES, self.feature_loss)
        name, projector, loss = (catalogue.find(name).label for catalogue, name in named)
        parts = [name if self.name != _default("name") else ""]
        parts += ["by class" if self.by_class else ""]
        parts += [f"{projector} projector" if self.projector != _default("projector") else ""]
        parts += [loss if self.feature_loss != _default("feature_loss") else ""]
        parts += [self.mapping.label if self.mapping != _default("mapping") else ""]
        parts += [f"{self.feature_weight:g} x features" if self.feature_weight != _default("feature_weight") else ""]
        parts += ["+ cross entropy" if self.cross_entropy else "", "+ KL" if self.kl else ""]
        parts += ["uses labels" if self.uses_labels else ""]
        return ", ".join(filter(None, parts))


def _default(name: str) -> object:
    return AlignmentSettings.model_fields[name].default
