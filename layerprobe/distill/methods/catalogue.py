"""Every method by its name, and what the engine needs to know of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from layerprobe.distill.alignments.options import feature_only
from layerprobe.distill.mappings import ATTENTION, FULL, ONE_TO_ONE
from layerprobe.distill.methods.attention_transfer import AttentionTransfer
from layerprobe.distill.methods.crd import ContrastiveDistillation
from layerprobe.distill.methods.dkd import DecoupledDistillation
from layerprobe.distill.methods.fitnets import FitNets
from layerprobe.distill.methods.kd import KnowledgeDistillation
from layerprobe.distill.methods.kd_std import StandardizedDistillation
from layerprobe.distill.methods.reviewkd import KnowledgeReview
from layerprobe.distill.methods.rkd import RelationalDistillation
from layerprobe.distill.methods.scratch import Scratch
from layerprobe.distill.methods.semckd import SemanticCalibration
from layerprobe.distill.methods.setting import Setting
from layerprobe.distill.methods.simkd import MatchedEnding
from layerprobe.distill.methods.sp import SimilarityPreserving
from layerprobe.distill.objectives import Objective


@dataclass(frozen=True)
class Method:
    """What the engine needs to know of a method.

    Attributes:
        name: its name on the command line.
        build: makes the objective; its parameters are trained with the student.
        needs_teacher: whether there is a teacher at all.
        uses_features: whether it pairs layers.
        uses_logits: whether it needs the teacher's logits, and so a teacher of the same classes.
        chosen_layers: whether the user must choose the teacher's layers; otherwise they are evenly spread.
        mapping: which student layer learns from which teacher layer; of a method that aligns, ``Alignment`` says it.
        aligns: whether it takes the forms that ``Alignment`` describes.
        penultimate: whether it pairs the vectors that enter the classifiers, and nothing can be chosen.
        reuses_classifier: whether the student ends in the teacher's classifier: the last maps are paired, and nothing
            can be chosen.
    """

    name: str
    build: Callable[[Setting], Objective]
    needs_teacher: bool = True
    uses_features: bool = True
    uses_logits: bool = True
    chosen_layers: bool = False
    penultimate: bool = False
    reuses_classifier: bool = False
    mapping: str = ONE_TO_ONE
    aligns: bool = False

    @property
    def needs_classes(self) -> bool:
        """Whether it needs a teacher of the same classes."""
        return self.uses_logits or self.reuses_classifier

    @property
    def pairs_ends(self) -> bool:
        """Whether it pairs what comes last in either network, whatever the user wishes."""
        return self.penultimate or self.reuses_classifier


METHODS = {
    method.name: method
    for method in (
        Method(
            "feature-only",
            lambda it: feature_only(it.alignment, it.pairing, it.classes, it.batch_size),
            uses_logits=False,
            chosen_layers=True,
            aligns=True,
        ),
        Method("scratch", lambda it: Scratch(), needs_teacher=False, uses_features=False, uses_logits=False),
        Method("kd", lambda it: KnowledgeDistillation(), uses_features=False),
        Method("kd-std", lambda it: StandardizedDistillation(), uses_features=False),
        Method("dkd", lambda it: DecoupledDistillation(), uses_features=False),
        Method("fitnets", lambda it: FitNets(it.pairing)),
        Method("fitnets-full", lambda it: FitNets(it.pairing), mapping=FULL),
        Method("sp", lambda it: SimilarityPreserving(it.pairing)),
        Method("semckd", lambda it: SemanticCalibration(it.pairing, it.batch_size), mapping=ATTENTION),
        Method("simkd", lambda it: MatchedEnding(it.pairing), uses_logits=False, reuses_classifier=True),
        Method("attention-transfer", lambda it: AttentionTransfer(it.pairing)),
        Method("rkd", lambda it: RelationalDistillation(it.pairing), penultimate=True),
        Method("crd", lambda it: ContrastiveDistillation(it.pairing), uses_logits=False, penultimate=True),
        Method("reviewkd", lambda it: KnowledgeReview(it.pairing), uses_logits=False),
    )
}
"""Every method by its name on the command line."""
