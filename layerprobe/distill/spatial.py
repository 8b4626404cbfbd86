"""Features of two networks brought together in space: in one layout and of one size, position by position."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d

from layerprobe.records.layout import (
    ALL_TOKENS,
    CLASS_TOKEN,
    GRID,
    MAP,
    PATCHES,
    SEQUENCE,
    VECTOR,
    Layout,
    Shape,
    channels,
    layout_of,
)
from layerprobe.settings.base import SettingsError

__all__ = ["AlignedPair", "Places", "Side", "SpatialAligner", "as_map", "channels", "channels_first", "count_left_out"]

_NONE, _CLASS, _EACH = "none", "class", "each"
"""Which extra tokens a side keeps: none, the class token (the mean of the patches where there is none), or each."""


class AlignedPair(NamedTuple):
    """Student and teacher features of the same spatial size, (batch, channels, ...) each."""

    student: Tensor
    teacher: Tensor


class Places(NamedTuple):
    """Features by place.

    Attributes:
        extra: (batch, channels, count) extra tokens, such as the class token.
        patches: (batch, channels, height, width), or (batch, channels, count) where rows are not known.
    """

    extra: Tensor
    patches: Tensor

    @property
    def vectors(self) -> Tensor:
        """The channels at every place, extra tokens first: (batch, channels, places)."""
        patches = self.patches.flatten(2)
        return torch.cat([self.extra, patches], dim=2) if self.extra.shape[2] else patches


@dataclass(frozen=True)
class Side:
    """The features of one layer of a pair, by place and at their own size.

    Attributes:
        layout: of the features.
        extra: which extra tokens are compared.
        patches: whether patches are compared, too.
    """

    layout: Layout
    extra: str
    patches: bool

    def __call__(self, features: Tensor) -> Places:
        """What of features (batch, ...) is compared; without patches the class token stands in their place."""
        extra, patches = _by_place(features, self.layout)
        if self.extra == _CLASS:
            extra = extra[:, :, :1] if self.layout.class_token else patches.flatten(2).mean(dim=2, keepdim=True)
        if not self.patches:
            return Places(extra[:, :, :0], extra[..., None])
        return Places(extra if self.extra != _NONE else extra[:, :, :0], patches)

    @property
    def size(self) -> tuple[int, ...]:
        """Height and width of what stands for patches, or their number where rows are not known."""
        if not self.patches:
            return (1, 1)
        return (self.layout.width,) if self.layout.kind == SEQUENCE else (self.layout.height, self.layout.width)


class SpatialAligner:
    """Brings student and teacher features to one layout and spatial size; channels stay.

    Patch tokens are put back into their grid: a grid and a map meet in two dimensions, and the larger one is adaptively
    average-pooled to the smaller one's size, axis by axis. A vector is one position. Two sequences of one layout meet
    token by token, extra tokens (class token, registers) included; otherwise these are left out. What ``--tokens`` asks
    for, which the shapes of a run's layers know, goes before: ``patches`` leaves the extra tokens out; ``cls`` compares
    the class token alone with the other's, or, where that has none, with the mean of its patches; ``all`` compares
    patches and class token, and registers where both sides have as many extra tokens.

    Pairs without extra tokens are (batch, channels, height, width) afterwards; with extra tokens, which come first, or
    where rows are not known, they are (batch, channels, tokens).

    Args:
        student_shape: shape of the student's features for one image: (channels, height, width) or, channels last,
            (height, width, channels); (tokens, channels); (channels,). A layer's own ``shape`` knows which of these it
            is, how many of its tokens are extra ones, and their grid; ``layout_of`` says how a plain tuple is read.
        teacher_shape: shape of the teacher's.

    Attributes:
        student: the student's side, at its own size.
        teacher: the teacher's.
        size: height and width where they meet, or the number of tokens where rows are not known.
        extra: how many extra tokens come before them.

    Raises:
        ValueError: if a plain tuple has more than three axes.
        LayerprobeError: if tokens that form no grid would have to be pooled.
    """

    def __init__(self, student_shape: tuple[int, ...], teacher_shape: tuple[int, ...]) -> None:
        ours, theirs = layout_of(student_shape), layout_of(teacher_shape)
        tokens = _tokens(student_shape, ours, theirs)
        extra = _extra_tokens(tokens, ours, theirs)
        self.student, self.teacher = (Side(layout, extra, tokens != CLASS_TOKEN) for layout in (ours, theirs))
        size = _meeting_size(self.student, self.teacher)
        if size is None:
            raise _no_grid(student_shape, teacher_shape)
        self.size = size
        kept = {_NONE: 0, _CLASS: 1, _EACH: ours.prefix}[extra]
        self.extra = kept if tokens != CLASS_TOKEN else 0

    @property
    def is_sequence(self) -> bool:
        """Whether aligned features are (batch, channels, tokens); else (batch, channels, height, width)."""
        return self.extra > 0 or len(self.size) == 1

    @property
    def positions(self) -> int:
        """In how many places the two meet."""
        return self.extra + math.prod(self.size)

    def __call__(self, student: Tensor, teacher: Tensor) -> AlignedPair:
        """Align a batch of student and teacher features."""
        return AlignedPair(self._meet(self.student(student)), self._meet(self.teacher(teacher)))

    def _meet(self, places: Places) -> Tensor:
        patches = places.patches
        if len(self.size) == 2:
            patches = patches if patches.ndim == 4 else patches[:, :, None]
            patches = _pooled(patches, (self.size[0], self.size[1]))
        return Places(places.extra, patches).vectors if self.is_sequence else patches


def count_left_out(student_shape: tuple[int, ...], teacher_shape: tuple[int, ...]) -> tuple[int, int]:
    """How many extra tokens of the student's and of the teacher's layer a ``SpatialAligner`` does not compare."""
    ours, theirs = layout_of(student_shape), layout_of(teacher_shape)
    extra = _extra_tokens(_tokens(student_shape, ours, theirs), ours, theirs)
    left = [
        {_NONE: layout.prefix, _CLASS: layout.prefix - layout.class_token, _EACH: 0}[extra] for layout in (ours, theirs)
    ]
    return left[0], left[1]


def channels_first(features: Tensor, shape: tuple[int, ...]) -> Tensor:
    """All features with their channels first: (batch, channels, height, width) of maps, else (batch, channels, places).

    Args:
        features: (batch, *shape).
        shape: of one image's features.
    """
    places = _by_place(features, layout_of(shape))
    return places.patches if layout_of(shape).kind == MAP else places.vectors


def as_map(features: Tensor, shape: tuple[int, ...]) -> Tensor:
    """A map, or the patches of a grid, with channels first: (batch, channels, height, width).

    Args:
        features: (batch, *shape).
        shape: of a layer whose layout ``is_map_like``.
    """
    return _by_place(features, layout_of(shape)).patches


def _by_place(features: Tensor, layout: Layout) -> Places:
    if layout.kind == VECTOR:
        patches = features[:, :, None, None]
    elif layout.is_tokens:
        tokens = features.flatten(1, -2).transpose(1, 2) if layout.channels_last else features.flatten(2)
        extra, patches = tokens[:, :, : layout.prefix], tokens[:, :, layout.prefix :]
        if layout.kind == GRID:
            patches = patches.reshape(*patches.shape[:2], layout.height, layout.width)
        return Places(extra, patches)
    else:
        patches = features.permute(0, 3, 1, 2) if layout.channels_last else features
    return Places(patches.new_empty(*patches.shape[:2], 0), patches)


def _tokens(shape: tuple[int, ...], ours: Layout, theirs: Layout) -> str:
    """Which tokens are compared: what is asked for, where there is a choice."""
    if not (ours.prefix or theirs.prefix):
        return PATCHES
    asked = shape.tokens if isinstance(shape, Shape) else ""
    if asked == CLASS_TOKEN and not (ours.class_token or theirs.class_token):
        return PATCHES
    return asked or (ALL_TOKENS if ours == theirs else PATCHES)


def _extra_tokens(tokens: str, ours: Layout, theirs: Layout) -> str:
    """Which extra tokens are compared: a class token has a counterpart anywhere, registers where there are as many."""
    if tokens == ALL_TOKENS and (ours.prefix, ours.class_token) == (theirs.prefix, theirs.class_token):
        return _EACH
    return _CLASS if tokens != PATCHES and (ours.class_token or theirs.class_token) else _NONE


def _meeting_size(student: Side, teacher: Side) -> tuple[int, ...] | None:
    """The size at which two sides meet; None: one of them has no grid, and needs one."""
    ours, theirs = student.size, teacher.size
    if len(ours) == len(theirs) == 2:
        return min(ours[0], theirs[0]), min(ours[1], theirs[1])
    if (1, 1) in (ours, theirs):
        return (1, 1)
    # As many tokens lie in a grid on one side only where the other has them in another order, as Hiera and NesT do.
    return ours if ours == theirs else None


def _no_grid(student_shape: tuple[int, ...], teacher_shape: tuple[int, ...]) -> SettingsError:
    ours, theirs = layout_of(student_shape), layout_of(teacher_shape)
    whose, layout = ("student", ours) if ours.kind == SEQUENCE else ("teacher", theirs)
    extra = f" beside {layout.prefix} extra ones" if layout.prefix else ""
    return SettingsError(
        f"the {layout.positions} tokens of the {whose}'s layer{extra} form no grid of the image, and features of "
        f"shapes {tuple(student_shape)} and {tuple(teacher_shape)} meet in one; say how many tokens come before those "
        f"of the patches with <{whose}.prefix_tokens>, or pair other layers"
    )


def _pooled(features: Tensor, size: tuple[int, int]) -> Tensor:
    if tuple(features.shape[2:]) == size or math.prod(size) == 0:
        return features
    return adaptive_avg_pool2d(features, size)
