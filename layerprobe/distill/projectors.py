"""From student features to the teacher's channels, and both to one spatial size."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d, adaptive_avg_pool2d

from layerprobe.layers.discovery import is_channels_last


@dataclass(frozen=True)
class AlignedPair:
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
        student = laid_out(student, self.tokens, self.student_last)
        teacher = laid_out(teacher, self.tokens, self.teacher_last)
        size = tuple(min(pair) for pair in zip(student.shape[2:], teacher.shape[2:], strict=True))
        return AlignedPair(_pooled(student, size), _pooled(teacher, size))


class Projector(nn.Module):
    """A 1x1 convolution without bias from student to teacher channels, with spatial alignment.

    The convolution is 2-d between maps or vectors, 1-d over tokens when either side is tokens.

    Source: section 4 of Cooper et al., arXiv 2511.14981.

    Args:
        student_shape: shape of the student's features for one image.
        teacher_shape: shape of the teacher's.

    Raises:
        ValueError: if a shape has more than three axes.

    Example:
        >>> import torch
        >>> pair = Projector((16, 8, 8), (64, 4, 4))(torch.ones(2, 16, 8, 8), torch.ones(2, 64, 4, 4))
        >>> pair.student.shape, pair.teacher.shape
        (torch.Size([2, 64, 4, 4]), torch.Size([2, 64, 4, 4]))
    """

    def __init__(self, student_shape: tuple[int, ...], teacher_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.align = SpatialAligner(student_shape, teacher_shape)
        convolution = nn.Conv1d if self.align.tokens else nn.Conv2d
        self.project = convolution(channels(student_shape), channels(teacher_shape), kernel_size=1, bias=False)

    def forward(self, student: Tensor, teacher: Tensor) -> AlignedPair:
        """Align a batch of student and teacher features."""
        # Pooling first is the same map as projecting first, both being linear, and cheaper.
        pair = self.align(student, teacher)
        return AlignedPair(self.project(pair.student), pair.teacher)


class ThreeLayerProjector(nn.Module):
    """Three convolutions from student to teacher channels, with spatial alignment.

    1x1, 3x3 and 1x1 with batch normalization and ReLU after the first two, in the teacher's channels (Chen et al., AAAI
    2021, section 3.3; their code has twice as many in between, and no bias in the last one); over tokens the
    convolutions are 1-d. Features are pooled before they are projected.

    Args:
        student_shape: shape of the student's features for one image.
        teacher_shape: shape of the teacher's.

    Raises:
        ValueError: if a shape has more than three axes.
    """

    def __init__(self, student_shape: tuple[int, ...], teacher_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.align = SpatialAligner(student_shape, teacher_shape)
        convolution = nn.Conv1d if self.align.tokens else nn.Conv2d
        normalization = nn.BatchNorm1d if self.align.tokens else nn.BatchNorm2d
        ours, theirs = channels(student_shape), channels(teacher_shape)
        self.project = nn.Sequential(
            convolution(ours, theirs, 1, bias=False),
            normalization(theirs),
            nn.ReLU(),
            convolution(theirs, theirs, 3, padding=1, bias=False),
            normalization(theirs),
            nn.ReLU(),
            convolution(theirs, theirs, 1),
        )

    def forward(self, student: Tensor, teacher: Tensor) -> AlignedPair:
        """Align a batch of student and teacher features."""
        pair = self.align(student, teacher)
        return AlignedPair(self.project(pair.student), pair.teacher)


MakeProjector = Callable[[tuple[int, ...], tuple[int, ...]], nn.Module]
PROJECTORS: dict[str, MakeProjector] = {"one-layer": Projector, "three-layer": ThreeLayerProjector}
"""Every projector by its name: made from the student's and the teacher's shape of one image."""


def channels(shape: tuple[int, ...]) -> int:
    """Channels of a map, hidden size of tokens, length of a vector."""
    return shape[-1] if len(shape) == 2 or is_channels_last(shape) else shape[0]


def laid_out(features: Tensor, tokens: bool, channels_last: bool) -> Tensor:
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
