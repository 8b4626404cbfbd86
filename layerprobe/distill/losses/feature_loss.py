"""A feature loss by its name, whether it is built in or comes from a user's file."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps

import torch
from torch import Tensor

from layerprobe.distill.losses.catalogue import FEATURE_LOSSES
from layerprobe.distill.plugin_errors import returned
from layerprobe.errors import LayerprobeError
from layerprobe.plugins import errors_in_one_line

FeatureLoss = Callable[[Tensor, Tensor], Tensor]
"""A scalar from student and teacher features of one shape, (batch, channels, ...)."""


def load_feature_loss(name: str) -> FeatureLoss:
    """The feature loss of this name; one of a user's file is checked at every call.

    Raises:
        LayerprobeError: if there is none, or its file can't be run.
    """
    entry = FEATURE_LOSSES.find(name)
    loss: FeatureLoss = entry.load()
    return checked_loss(loss, name) if entry.is_plugin else loss


def checked_loss(loss: FeatureLoss, name: str) -> FeatureLoss:
    """A user's feature loss, with one line for a person where it fails or doesn't return a scalar.

    Args:
        loss: called as ``loss(student, teacher)``.
        name: ``FILE.py:name``, for messages.
    """

    @wraps(loss)
    def checked(student: Tensor, teacher: Tensor) -> Tensor:
        shapes = f"student features {tuple(student.shape)} and teacher features {tuple(teacher.shape)}"
        with errors_in_one_line(f"the feature loss {name}", shapes):
            value = loss(student, teacher)
        if not isinstance(value, Tensor) or value.ndim != 0 or not value.is_floating_point():
            raise LayerprobeError(
                f"the feature loss {name} returns {returned(value)} for {shapes}; return a scalar tensor, such as a "
                "mean"
            )
        if torch.is_grad_enabled() and student.requires_grad and not value.requires_grad:
            raise LayerprobeError(
                f"the feature loss {name} returns a value without a gradient; compute it from the student's features "
                "with PyTorch's functions, without detach()"
            )
        return value

    return checked
