"""Features of two networks in one layout and of one spatial size."""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import adaptive_avg_pool1d, adaptive_avg_pool2d

from layerprobe.layers.discovery import is_channels_last


class AlignedPair(NamedTuple):
    """Student and teacher features of the same spatial size, (batch, channels, ...) each."""

    student: Tensor
    teacher: Tensor


class SpatialAligner:
    """Brings student and teacher features to one layout and spatial size; channels stay.

    Maps are (channels, height, width) or, where ``is_channels_last`` says so, (height, width, channels); tokens are
    (tokens, width), vectors (width,). Between two maps (or vectors) the layout is (batch, channels, height, width);
    when either side is tokens it is (batch, channels, tokens), with the hidden size as channels. The larger map, or
    token sequence, is adaptively average-pooled to the smaller one's size, per axis.

    Args:
        student_shape: shape of the student's features for one image.
        teacher_shape: shape of the teacher's.

    Raises:
        ValueError: if a shape has more than three axes.
    """

    def __init__(self, student_shape: tuple[int, ...], teacher_shape: tuple[int, ...]) -> None:
        for shape in (student_shape, teacher_shape):
            if not 1 <= len(shape) <= 3:
                raise ValueError(f"features of shape {shape} are neither a vector, tokens nor a map")
        self.student_last, self.teacher_last = is_channels_last(student_shape), is_channels_last(teacher_shape)
        self.tokens = 2 in (len(student_shape), len(teacher_shape))

    def __call__(self, student: Tensor, teacher: Tensor) -> AlignedPair:
        """Align a batch of student and teacher features."""
        student = channels_first(student, self.tokens, self.student_last)
        teacher = channels_first(teacher, self.tokens, self.teacher_last)
        size = tuple(min(pair) for pair in zip(student.shape[2:], teacher.shape[2:], strict=True))
        return AlignedPair(_pooled(student, size), _pooled(teacher, size))


def channels(shape: tuple[int, ...]) -> int:
    """Channels of a map, hidden size of tokens, length of a vector."""
    return shape[-1] if len(shape) == 2 or is_channels_last(shape) else shape[0]


def channels_first(features: Tensor, tokens: bool, channels_last: bool) -> Tensor:
    """Features with their channels first.

    Args:
        features: (batch, ...): a map, tokens or vectors.
        tokens: whether maps and vectors are laid out as tokens, too.
        channels_last: whether a map has its channels last.

    Returns:
        (batch, channels, tokens), or (batch, channels, height, width) of maps and vectors.
    """
    if channels_last:
        features = features.permute(0, 3, 1, 2)
    if features.ndim == 3:
        return features.transpose(1, 2)
    if tokens:
        return features.flatten(2) if features.ndim == 4 else features[:, :, None]
    return features if features.ndim == 4 else features[:, :, None, None]


def _pooled(features: Tensor, size: tuple[int, ...]) -> Tensor:
    if tuple(features.shape[2:]) == size or math.prod(size) == 0:
        return features
    return (
        adaptive_avg_pool1d(features, size[0]) if len(size) == 1 else adaptive_avg_pool2d(features, (size[0], size[1]))
    )
