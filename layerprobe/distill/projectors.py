"""From student features to the teacher's channels, and both to one spatial size."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d

from layerprobe.distill.alignments.catalogue import PROJECTORS
from layerprobe.distill.plugin_errors import returned
from layerprobe.distill.pooling import Pooling
from layerprobe.distill.spatial import AlignedPair, SpatialAligner, channels
from layerprobe.errors import LayerprobeError
from layerprobe.plugins import errors_in_one_line

MakeProjector = Callable[[tuple[int, ...], tuple[int, ...]], nn.Module]
"""Makes a projector from the student's and the teacher's shape of one image."""


class Projector(nn.Module):
    """A 1x1 convolution without bias from student to teacher channels, with spatial alignment.

    The convolution is 2-d between maps, grids of patches and vectors; it is 1-d over tokens where extra tokens are
    compared too, or where the rows of patches are not known.

    Source: section 4 of Cooper et al., arXiv 2511.14981.

    Args:
        student_shape: shape of the student's features for one image.
        teacher_shape: shape of the teacher's.

    Raises:
        ValueError: if a shape has more than three axes.

    Examples:
        >>> import torch
        >>> pair = Projector((16, 8, 8), (64, 4, 4))(torch.ones(2, 16, 8, 8), torch.ones(2, 64, 4, 4))
        >>> pair.student.shape, pair.teacher.shape
        (torch.Size([2, 64, 4, 4]), torch.Size([2, 64, 4, 4]))
    """

    def __init__(self, student_shape: tuple[int, ...], teacher_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.align = SpatialAligner(student_shape, teacher_shape)
        convolution = nn.Conv1d if self.align.is_sequence else nn.Conv2d
        self.project = convolution(channels(student_shape), channels(teacher_shape), kernel_size=1, bias=False)

    def forward(self, student: Tensor, teacher: Tensor) -> AlignedPair:
        """Align a batch of student and teacher features."""
        # Pooling first is the same map as projecting first, both being linear, and cheaper.
        pair = self.align(student, teacher)
        return AlignedPair(self.project(pair.student), pair.teacher)


class ThreeLayerProjector(nn.Module):
    """Three convolutions from student to teacher channels, with spatial alignment.

    1x1, 3x3 and 1x1 with batch normalization and ReLU after the first two, in the teacher's channels (Chen et al., AAAI
    2021, section 3.3; their code has twice as many in between, and no bias in the last one). Patches are convolved in
    their grid, and each extra token that is compared by itself; where the rows of patches are not known the
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
        convolution, normalization = _modules(self.align)
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


class PooledProjector(nn.Module):
    """A linear map without bias from the student's features of an image, pooled to one vector, to the teacher's.

    Maps are averaged over their positions. Of tokens the class token is taken where there is one, and otherwise the
    mean of the patches (see ``Pooling``).

    Args:
        student_shape: shape of the student's features for one image.
        teacher_shape: shape of the teacher's.

    Examples:
        >>> import torch
        >>> pair = PooledProjector((16, 8, 8), (64, 4, 4))(torch.ones(2, 16, 8, 8), torch.ones(2, 64, 4, 4))
        >>> pair.student.shape, pair.teacher.shape
        (torch.Size([2, 64, 1, 1]), torch.Size([2, 64, 1, 1]))
    """

    def __init__(self, student_shape: tuple[int, ...], teacher_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.pool_student, self.pool_teacher = Pooling(student_shape), Pooling(teacher_shape)
        self.project = nn.Conv2d(channels(student_shape), channels(teacher_shape), kernel_size=1, bias=False)

    def forward(self, student: Tensor, teacher: Tensor) -> AlignedPair:
        """Pool a batch of student and teacher features, and project the student's."""
        ours, theirs = self.pool_student(student)[:, :, None, None], self.pool_teacher(teacher)[:, :, None, None]
        return AlignedPair(self.project(ours), theirs)


class GridConvolution(nn.Conv2d):
    """A convolution of patches in their grid, behind extra tokens that are convolved as if each were a map of its own.

    Args:
        channels_in: of the features.
        channels_out: of the result.
        kernel_size: odd; the padding keeps the grid's size.
        size: height and width of the grid.
        extra: how many extra tokens stand before the patches.
        bias: whether there is one.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel_size: int,
        padding: int = 0,
        bias: bool = True,
        *,
        size: tuple[int, ...],
        extra: int,
    ) -> None:
        super().__init__(channels_in, channels_out, kernel_size, padding=padding, bias=bias)
        self.size, self.extra = size, extra

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channels_in, extra + height * width) to (batch, channels_out, extra + height * width)."""
        patches = features[:, :, self.extra :].reshape(*features.shape[:2], *self.size)
        middle = self.weight.shape[2] // 2
        extra = conv1d(features[:, :, : self.extra], self.weight[:, :, middle, middle, None], self.bias)
        return torch.cat([extra, super().forward(patches).flatten(2)], dim=2)


def _modules(align: SpatialAligner) -> tuple[Callable[..., nn.Module], Callable[..., nn.Module]]:
    """What makes convolutions and normalizations of aligned features."""
    if not align.is_sequence:
        return nn.Conv2d, nn.BatchNorm2d
    if len(align.size) == 1:
        return nn.Conv1d, nn.BatchNorm1d
    return partial(GridConvolution, size=align.size, extra=align.extra), nn.BatchNorm1d


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
