"""Along which axis of a tensor the images of a batch lie."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Rows:
    """Where the images are in what a module puts out.

    Attributes:
        tensor: which of the module's tensors holds them, from 0.
        axis: their axis: 0 almost always, 1 in transformers that put tokens first, as ``nn.TransformerEncoder`` does
            unless it is told ``batch_first=True``.
        folded: whether images are divided into parts along that axis, like those of MobileViT's blocks.
    """

    tensor: int
    axis: int = 0
    folded: bool = False


def find_rows(two: Sequence[Tensor], three: Sequence[Tensor]) -> Rows | None:
    """Tell the axis of the images from passes of two images and of three: it is the one axis that grows with them.

    Args:
        two: what a module put out for two images.
        three: what it put out for the same two in reverse order and a third.

    Returns:
        None where no tensor has an axis of images: the module's result doesn't depend on how many there are, several
        axes do, or the parts of images are not in the order of the images.
    """
    pairs = [
        (number, before, after)
        for number, (before, after) in enumerate(zip(two, three, strict=False))
        if before.ndim == after.ndim >= 2
    ]
    for number, before, after in pairs:
        axes = list(_growing(before, after))
        if len(axes) == 1 and (before.shape[axes[0]], after.shape[axes[0]]) == (2, 3):
            return Rows(number, axes[0])
    for number, before, after in pairs[:1]:
        if list(_growing(before, after)) == [0] and 3 * len(before) == 2 * len(after) and len(before) % 2 == 0:
            swapped = images_first(after, 3)[:2].flip(0)
            if torch.allclose(images_first(before, 2), swapped, rtol=1e-3, atol=1e-4):
                return Rows(number, folded=True)
    return None


def grows(two: Sequence[Tensor], three: Sequence[Tensor]) -> bool:
    """Whether the shape of anything that a module puts out depends on the number of images."""
    return any(before.shape != after.shape for before, after in zip(two, three, strict=False))


def is_plain(tensors: Sequence[Tensor], images: int) -> bool:
    """Whether one pass tells: a tensor has one row per image, and no second axis could be that of the images."""
    for tensor in tensors:
        if tensor.ndim >= 2 and tensor.shape[1] == images:
            return False
        if tensor.ndim and len(tensor) == images:
            return True
    return False


def images_first(tensor: Tensor, images: int, axis: int = 0) -> Tensor:
    """One row per image: (images, ...).

    Blocks that divide an image, like those of MobileViT, work on (images * parts, ...): here (images, parts, ...).

    Args:
        tensor: what a layer put out.
        images: how many there are in the batch.
        axis: along which axis of the tensor they lie.

    Examples:
        >>> images_first(torch.ones(65, 2, 192), 2, axis=1).shape, images_first(torch.ones(8, 3), 2).shape
        (torch.Size([2, 65, 192]), torch.Size([2, 4, 3]))
    """
    if axis:
        return tensor.movedim(axis, 0)
    return tensor if len(tensor) == images else tensor.reshape(images, -1, *tensor.shape[1:])


def with_rows(tensors: Sequence[Tensor], images: int, axis: int = 0) -> Tensor | None:
    """Of a module's tensors the first with one row per image along an axis, else the first; None: there is none."""
    fitting = (tensor for tensor in tensors if tensor.ndim > axis and tensor.shape[axis] == images)
    return next(fitting, tensors[0] if tensors else None)


def _growing(before: Tensor, after: Tensor) -> Iterator[int]:
    return (axis for axis, (one, other) in enumerate(zip(before.shape, after.shape, strict=True)) if one != other)
