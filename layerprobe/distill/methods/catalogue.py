"""The methods by name, and what each needs of the teacher and lets into the backbone, without importing PyTorch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from layerprobe.catalogue import Catalogue, Entry
from layerprobe.distill.alignments.catalogue import ALIGNMENTS, ATTENTION, FULL, ONE_TO_ONE

if TYPE_CHECKING:
    from layerprobe.distill.objective_context import ObjectiveContext
    from layerprobe.distill.objectives import Objective

_HERE = "layerprobe.distill.methods"

LABELS, LOGITS, FEATURES, CLASSIFIER = "labels", "logits", "features", "classifier"
"""What a method asks of the teacher, and what its losses let into the student's backbone."""

LAYERS, PENULTIMATE, LAST_MAPS = "layers", "penultimate", "last maps"
"""What a method pairs: chosen layers; the vectors that enter the classifiers; the last maps."""

_DISTILLATION = {"temperature": 4.0}
_OTHER_TERMS = (LABELS, LOGITS, FEATURES)


class _Form(Protocol):
    """What a method needs to know of the form of feature-only."""

    @property
    def by_class(self) -> bool: ...

    @property
    def cross_entropy(self) -> bool: ...

    @property
    def kl(self) -> bool: ...


@dataclass(frozen=True)
class Method(Entry):
    """A way of training a student.

    ``target`` is a function of an ``ObjectiveContext`` and of ``constants``, as keywords, that gives the objective.

    Attributes:
        source: author and year of the publication; empty: there is none.
        link: where the publication is to be read.
        objective: the sum of loss terms that trains the backbone, in words, with ``constants`` by name.
        constants: weights, temperatures and sizes of the objective, by name.
        teacher: what the student needs of the teacher: nothing, or any of ``features``, ``logits``, ``classifier``.
        reaches_backbone: what the losses let into the backbone: any of ``labels``, ``logits``, ``features``.
        pairs: what is paired; empty: nothing is.
        mapping: which student layer learns from which teacher layer; with an alignment, that says it.
        layers_required: whether the user must choose the teacher's layers; otherwise they have a default.
        takes_alignment: whether it takes an alignment, a projector, a feature loss and a mapping.
        positions: whether it compares features position by position; with an alignment, that says it.
        maps_only: whether all of its layers must be maps, or grids of patches.
    """

    source: str = ""
    link: str = ""
    objective: str = ""
    constants: Mapping[str, float] = field(default_factory=dict)
    teacher: tuple[str, ...] = ()
    reaches_backbone: tuple[str, ...] = ()
    pairs: str = ""
    mapping: str = ONE_TO_ONE
    layers_required: bool = False
    takes_alignment: bool = False
    positions: bool = False
    maps_only: bool = False

    @property
    def needs_teacher(self) -> bool:
        """Whether there is a teacher at all."""
        return bool(self.teacher)

    @property
    def uses_features(self) -> bool:
        """Whether it pairs layers."""
        return bool(self.pairs)

    @property
    def reuses_classifier(self) -> bool:
        """Whether the student ends in the teacher's classifier."""
        return CLASSIFIER in self.teacher

    @property
    def pairs_ends(self) -> bool:
        """Whether it pairs what comes last in either network, whatever layers the user names."""
        return self.pairs in (PENULTIMATE, LAST_MAPS)

    def compares_positions(self, alignment: str) -> bool:
        """Whether features meet position by position, with this alignment where it takes one."""
        return ALIGNMENTS.find(alignment).positions if self.takes_alignment else self.positions

    def needs_same_classes(self, form: _Form) -> bool:
        """Whether the teacher must have the classes of the data, with this form of feature-only where it takes one."""
        return LOGITS in self.teacher or self.reuses_classifier or (self.takes_alignment and form.kl)

    def labels_reach_backbone(self, form: _Form | None = None) -> bool:
        """Whether labels influence the student's backbone, with this form of feature-only where it takes one."""
        shaped = form is not None and self.takes_alignment and (form.by_class or form.cross_entropy)
        return shaped or LABELS in self.reaches_backbone

    def build(self, context: ObjectiveContext, **constants: Any) -> Objective[Any]:
        """The objective; constants replace those of the method."""
        objective: Objective[Any] = self.load()(context, **{**self.constants, **constants})
        return objective

    @property
    def objective_in_words(self) -> str:
        """The objective, with the values of its constants."""
        return self.objective.format(**self.constants, squared=self.constants.get("temperature", 1) ** 2)


METHODS = Catalogue(
    "method",
    (
        Method(
            "feature-only",
            "feature-only",
            "a feature loss at the chosen layers, and nothing else",
            f"{_HERE}.feature_only:build",
            source="Cooper et al. 2025",
            link="https://arxiv.org/abs/2511.14981",
            objective="a feature loss at the chosen layers, **nothing else**",
            constants=_DISTILLATION,
            teacher=(FEATURES,),
            reaches_backbone=(FEATURES,),
            pairs=LAYERS,
            layers_required=True,
            takes_alignment=True,
        ),
        Method(
            "scratch",
            "scratch",
            "cross entropy, without a teacher",
            f"{_HERE}.scratch:build",
            objective="cross entropy",
            reaches_backbone=(LABELS,),
        ),
        Method(
            "kd",
            "kd",
            "cross entropy and the KL divergence of softened logits",
            f"{_HERE}.kd:build",
            source="Hinton et al. 2015",
            link="https://arxiv.org/abs/1503.02531",
            objective="cross entropy + {squared:g} KL of logits at temperature {temperature:g}",
            constants=_DISTILLATION,
            teacher=(LOGITS,),
            reaches_backbone=(LABELS, LOGITS),
        ),
        Method(
            "kd-std",
            "kd-std",
            "kd with standardized logits",
            f"{_HERE}.kd_std:build",
            source="Sun et al. 2024",
            link="https://arxiv.org/abs/2403.01427",
            objective="the same with z-scored logits",
            constants=_DISTILLATION,
            teacher=(LOGITS,),
            reaches_backbone=(LABELS, LOGITS),
        ),
        Method(
            "dkd",
            "dkd",
            "kd with the true class decoupled from the others",
            f"{_HERE}.dkd:build",
            source="Zhao et al. 2022",
            link="https://arxiv.org/abs/2203.08679",
            objective="cross entropy + {squared:g} (KL of the true class against the rest + {beta:g} KL among the "
            "rest), temperature {temperature:g}",
            constants={**_DISTILLATION, "alpha": 1.0, "beta": 8.0},
            teacher=(LOGITS,),
            reaches_backbone=(LABELS, LOGITS),
        ),
        Method(
            "fitnets",
            "fitnets",
            "kd and projected features at evenly spread layers, one to one",
            f"{_HERE}.fitnets:build",
            source="Romero et al. 2015",
            link="https://arxiv.org/abs/1412.6550",
            objective="`kd` + mean squared error of projected features, mean over pairs",
            constants=_DISTILLATION,
            teacher=(FEATURES, LOGITS),
            reaches_backbone=_OTHER_TERMS,
            pairs=LAYERS,
            positions=True,
        ),
        Method(
            "fitnets-full",
            "fitnets-full",
            "fitnets with every student layer learning from every teacher layer",
            f"{_HERE}.fitnets:build",
            source="Romero et al. 2015",
            link="https://arxiv.org/abs/1412.6550",
            objective="the same, every student layer to every teacher layer",
            constants=_DISTILLATION,
            teacher=(FEATURES, LOGITS),
            reaches_backbone=_OTHER_TERMS,
            pairs=LAYERS,
            mapping=FULL,
            positions=True,
        ),
        Method(
            "sp",
            "sp",
            "kd and which images of a batch look alike",
            f"{_HERE}.sp:build",
            source="Tung and Mori 2019",
            link="https://arxiv.org/abs/1907.09682",
            objective="`kd` + {weight:,g} times the squared difference of the batch's similarity matrices",
            constants={**_DISTILLATION, "weight": 3000.0},
            teacher=(FEATURES, LOGITS),
            reaches_backbone=_OTHER_TERMS,
            pairs=LAYERS,
        ),
        Method(
            "semckd",
            "semckd",
            "kd and features of all pairs of layers, weighted by learned attention",
            f"{_HERE}.semckd:build",
            source="Chen et al. 2021",
            link="https://arxiv.org/abs/2012.03236",
            objective="`kd` + {weight:g} times the mean squared errors of all pairs, weighted by attention for each "
            "image; three-layer projectors",
            constants={**_DISTILLATION, "weight": 400.0},
            teacher=(FEATURES, LOGITS),
            reaches_backbone=_OTHER_TERMS,
            pairs=LAYERS,
            mapping=ATTENTION,
            positions=True,
        ),
        Method(
            "simkd",
            "simkd",
            "the last map, projected into the teacher's own classifier",
            f"{_HERE}.simkd:build",
            source="Chen et al. 2022",
            link="https://arxiv.org/abs/2203.14001",
            objective="mean squared error of the last map, projected to the teacher's; the student ends in the "
            "teacher's classifier",
            teacher=(FEATURES, CLASSIFIER),
            reaches_backbone=(FEATURES,),
            pairs=LAST_MAPS,
            positions=True,
        ),
        Method(
            "attention-transfer",
            "attention-transfer",
            "kd and attention maps",
            f"{_HERE}.attention_transfer:build",
            source="Zagoruyko and Komodakis 2017",
            link="https://arxiv.org/abs/1612.03928",
            objective="`kd` + {weight:,g} times the mean squared difference of attention maps",
            constants={**_DISTILLATION, "weight": 1000.0},
            teacher=(FEATURES, LOGITS),
            reaches_backbone=_OTHER_TERMS,
            pairs=LAYERS,
            positions=True,
        ),
        Method(
            "rkd",
            "rkd",
            "kd and distances and angles between images",
            f"{_HERE}.rkd:build",
            source="Park et al. 2019",
            link="https://arxiv.org/abs/1904.05068",
            objective="`kd` + {distance:g} times distances + {angle:g} times angles between images, Huber",
            constants={**_DISTILLATION, "distance": 25.0, "angle": 50.0},
            teacher=(FEATURES, LOGITS),
            reaches_backbone=_OTHER_TERMS,
            pairs=PENULTIMATE,
        ),
        Method(
            "crd",
            "crd",
            "cross entropy, and images told from images of other classes",
            f"{_HERE}.crd:build",
            source="Tian et al. 2020",
            link="https://arxiv.org/abs/1910.10699",
            objective="cross entropy + {weight:g} times the contrastive loss with {negatives:,} negatives, "
            "temperature {temperature:g}, momentum {momentum:g}",
            constants={"weight": 0.8, "negatives": 16384, "temperature": 0.07, "width": 128, "momentum": 0.5},
            teacher=(FEATURES,),
            reaches_backbone=(LABELS, FEATURES),
            pairs=PENULTIMATE,
        ),
        Method(
            "reviewkd",
            "reviewkd",
            "cross entropy and maps fused from deep to shallow",
            f"{_HERE}.reviewkd:build",
            source="Chen et al. 2021",
            link="https://arxiv.org/abs/2104.09044",
            objective="cross entropy + the hierarchical loss of student maps fused from deep to shallow; maps "
            "and grids of patches only",
            constants={"weight": 1.0, "width": 512},
            teacher=(FEATURES,),
            reaches_backbone=(LABELS, FEATURES),
            pairs=LAYERS,
            positions=True,
            maps_only=True,
        ),
    ),
)
"""Every method."""
