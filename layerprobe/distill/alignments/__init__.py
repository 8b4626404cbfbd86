"""How feature-only distillation brings student and teacher features together: one file each.

All are label-free: they see features and nothing else. Forms that see labels or logits too, as a ``ClassObjective`` or
a ``LabelledObjective``, are in ``baselines``: ``by_class.py`` and ``with_logits.py``.
"""

from __future__ import annotations

from collections.abc import Callable

from layerprobe.distill.alignments.geometry import PrincipalAxes
from layerprobe.distill.alignments.moments import Moments
from layerprobe.distill.alignments.projected import FeatureOnly
from layerprobe.distill.alignments.relation import Relation
from layerprobe.distill.losses import FeatureLoss
from layerprobe.distill.objectives import FeatureObjective
from layerprobe.distill.pairing import Pairing
from layerprobe.distill.projectors import MakeProjector

ALIGNMENTS: dict[str, Callable[[Pairing, FeatureLoss, MakeProjector], FeatureObjective]] = {
    "projector": FeatureOnly,
    "geometry": lambda pairing, loss, projector: PrincipalAxes(pairing, loss),
    "moments": Moments,
    "relation": lambda pairing, loss, projector: Relation(pairing),
}
"""Every label-free alignment by its name."""
