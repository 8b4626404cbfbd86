"""From student features to the teacher's channels, and both to one spatial size."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from layerprobe.distill.alignments.catalogue import PROJECTORS
from layerprobe.distill.plugin_errors import returned
from layerprobe.distill.spatial import AlignedPair, SpatialAligner, channels
from layerprobe.errors import LayerprobeError
from layerprobe.plugins import errors_in_one_line

MakeProjector = Callable[[tuple[int, ...], tuple[int, ...]], nn.Module]
"""Makes a projector from the student's and the teacher's shape of one image."""


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


class CheckedProjector(nn.Module):
    """A user's projector, with one line for a person where it fails or doesn't return a pair of one shape.

    Args:
        make: called with the student's and the teacher's shape of one image; gives a module that is called with the
            features of both, and returns a pair of tensors of one shape.
        name: ``FILE.py:name``, for messages.
        student_shape: shape of the student's features for one image.
        teacher_shape: shape of the teacher's.

    Raises:
        LayerprobeError: if it can't be made, or isn't a module.
    """

    def __init__(
        self, make: MakeProjector, name: str, student_shape: tuple[int, ...], teacher_shape: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.name = name
        with errors_in_one_line(f"the projector {name}", f"shapes {student_shape} and {teacher_shape}"):
            inner = make(student_shape, teacher_shape)
        if not isinstance(inner, nn.Module):
            raise LayerprobeError(f"the projector {name} makes {returned(inner)}; return an nn.Module")
        self.inner = inner

    def forward(self, student: Tensor, teacher: Tensor) -> AlignedPair:
        """Align a batch of student and teacher features.

        Raises:
            LayerprobeError: if the user's module fails, or doesn't return a pair of one shape.
        """
        shapes = f"student features {tuple(student.shape)} and teacher features {tuple(teacher.shape)}"
        with errors_in_one_line(f"the projector {self.name}", shapes):
            pair = self.inner(student, teacher)
        if not (isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(side, Tensor) for side in pair)):
            raise LayerprobeError(
                f"the projector {self.name} returns {returned(pair)}; return the student's and the teacher's features"
            )
        if pair[0].shape != pair[1].shape or pair[0].ndim < 2 or len(pair[0]) != len(student):
            raise LayerprobeError(
                f"the projector {self.name} returns features of shapes {tuple(pair[0].shape)} and "
                f"{tuple(pair[1].shape)} for {shapes}; return two tensors (batch, channels, ...) of one shape"
            )
        return AlignedPair(*pair)


def load_projector(name: str) -> MakeProjector:
    """What makes the projectors of this name; those of a user's file are checked at every call.

    Raises:
        LayerprobeError: if there is none, or its file can't be run.
    """
    entry = PROJECTORS.find(name)
    make: MakeProjector = entry.load()
    if not entry.is_plugin:
        return make
    return lambda student_shape, teacher_shape: CheckedProjector(make, name, student_shape, teacher_shape)
