"""Losses between two feature tensors, one file each.

The promise is in the signature: ``loss(student, teacher) -> scalar``. A feature loss can't receive labels or logits.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from layerprobe.distill.losses.cosine import cosine
from layerprobe.distill.losses.huber import huber
from layerprobe.distill.losses.mse import mse

FeatureLoss = Callable[[Tensor, Tensor], Tensor]

FEATURE_LOSSES: dict[str, FeatureLoss] = {"mse": mse, "huber": huber, "cosine": cosine}
"""Every feature loss by its name."""
