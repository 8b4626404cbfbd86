"""How feature-only distillation brings student and teacher features together: one file each.

All are label-free: they see features and nothing else. Forms that let labels shape the targets are
``LabelledObjective``, and stand in ``by_class.py``.
"""

from __future__ import annotations

from collections.abc import Callable

from layerprobe.distill.alignments.geometry import PrincipalAxes
from layerprobe.distill.alignments.moments import Moments
from layerprobe.distill.alignments.projected import FeatureOnly
from layerprobe.distill.alignments.relation import Relation
from layerprobe.distill.feature_losses import FeatureLoss
from layerprobe.distill.objectives import FeatureObjective
from layerprobe.distill.pairing import Pairing

ALIGNMENTS: dict[str, Callable[[Pairing, FeatureLoss], FeatureObjective]] = {
    "projector": FeatureOnly,
    "geometry": PrincipalAxes,
    "moments": Moments,
    "relation": lambda pairing, loss: Relation(pairing),
}
"""Every label-free alignment by its name."""
