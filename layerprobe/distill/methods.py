"""Every method by its name, and what the engine needs to know of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from layerprobe.distill.baselines.attention_transfer import AttentionTransfer
from layerprobe.distill.baselines.dkd import DecoupledDistillation
from layerprobe.distill.baselines.fitnets import FitNets, full_fitnets
from layerprobe.distill.baselines.kd import KnowledgeDistillation
from layerprobe.distill.baselines.kd_std import StandardizedDistillation
from layerprobe.distill.baselines.rkd import RelationalDistillation
from layerprobe.distill.baselines.scratch import Scratch
from layerprobe.distill.baselines.sp import SimilarityPreserving
from layerprobe.distill.feature_only import FeatureOnly
from layerprobe.distill.objectives import FeatureObjective, LabelledObjective
from layerprobe.distill.pairing import Pairing


@dataclass(frozen=True)
class Method:
    """What the engine needs to know of a method.

    Attributes:
        name: its name on the command line.
        build: makes the objective from the paired layers; its parameters are trained with the student.
        needs_teacher: whether there is a teacher at all.
        uses_features: whether it pairs layers.
        uses_logits: whether it needs the teacher's logits, and so a teacher of the same classes.
        chosen_layers: whether the user must choose the teacher's layers; otherwise they are evenly spread.
        penultimate: whether it pairs the vectors that enter the classifiers, and nothing can be chosen.
    """

    name: str
    build: Callable[[Pairing], FeatureObjective | LabelledObjective]
    needs_teacher: bool = True
    uses_features: bool = True
    uses_logits: bool = True
    chosen_layers: bool = False
    penultimate: bool = False


METHODS = {
    method.name: method
    for method in (
        Method("feature-only", FeatureOnly, uses_logits=False, chosen_layers=True),
        Method("scratch", lambda _: Scratch(), needs_teacher=False, uses_features=False, uses_logits=False),
        Method("kd", lambda _: KnowledgeDistillation(), uses_features=False),
        Method("kd-std", lambda _: StandardizedDistillation(), uses_features=False),
        Method("dkd", lambda _: DecoupledDistillation(), uses_features=False),
        Method("fitnets", FitNets),
        Method("fitnets-full", full_fitnets),
        Method("sp", SimilarityPreserving),
        Method("attention-transfer", AttentionTransfer),
        Method("rkd", RelationalDistillation, penultimate=True),
    )
}
"""Every method by its name on the command line."""
