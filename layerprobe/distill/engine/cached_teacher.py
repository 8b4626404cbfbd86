"""A teacher's outputs for all training images, computed once."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable

import torch
from torch import Tensor

from layerprobe.data.transfers import rows_to_device, to_device
from layerprobe.errors import LayerprobeError
from layerprobe.layers.capture import Captured
from layerprobe.runtime.memory import free_memory

_log = logging.getLogger(__name__)

SHARE_OF_DEVICE = 2
"""A GPU holds the outputs where they take no more than one part in so many of its free memory: training needs room."""


class HalvedFeatures:
    """A layer's float32 features of all images in 16 bits.

    They are float16: a value x comes back within 2^-11 |x| + 2^-25. Where a value is beyond float16, which ends at
    65,504, the layer's become bfloat16 from there on: all come back within 2^-8 |x| or, where they were float16 before,
    within (2^-8 + 2^-10) |x| + 2^-24.

    Args:
        images: how many there are.
        shape: of one image's features.
        device: where they lie.
    """

    def __init__(self, images: int, shape: tuple[int, ...], device: torch.device) -> None:
        self.values = torch.empty(images, *shape, dtype=torch.float16, device=device)

    def put(self, start: int, features: Tensor) -> None:
        """Take the float32 features (batch, ...) of the images from one on."""
        halved = features.to(self.values.dtype)
        if self.values.dtype == torch.float16 and bool((halved.isinf() & features.isfinite()).any()):
            self.values, halved = self.values.bfloat16(), features.bfloat16()
        self.values[start : start + len(features)] = halved

    def rows(self, positions: Tensor, device: torch.device) -> Tensor:
        """Float32 features (batch, ...) on a device, of images by their position (batch,)."""
        return rows_to_device(self.values, positions, device).float()


class WholeFeatures:
    """What a teacher gave of all images, as it gave it.

    Args:
        images: how many there are.
        like: (batch, ...) what one batch gave.
        device: where it lies.
    """

    def __init__(self, images: int, like: Tensor, device: torch.device) -> None:
        self.values = torch.empty(images, *like.shape[1:], dtype=like.dtype, device=device)

    def put(self, start: int, features: Tensor) -> None:
        """Take what a batch of images from one on gave."""
        self.values[start : start + len(features)] = features

    def rows(self, positions: Tensor, device: torch.device) -> Tensor:
        """(batch, ...) on a device, of images by their position (batch,)."""
        return rows_to_device(self.values, positions, device)


class CachedTeacherFeatures:
    """A teacher's logits and features of all training images.

    For a GPU float32 features are kept in 16 bits (``HalvedFeatures``), whether they lie there or, where they would
    take too much of its memory, in that of the machine. Logits, and all that a CPU is given, stay as they are.

    Args:
        passes: what the teacher gave, batch by batch, from the first image to the last.
        images: how many there are.
        device: where the outputs are wanted.
        halved: whether float32 features are kept in 16 bits; None: on a GPU.

    Raises:
        LayerprobeError: if the outputs take more memory than the machine has free.
    """

    def __init__(
        self, passes: Iterable[Captured], images: int, device: torch.device, halved: bool | None = None
    ) -> None:
        self._images, self._device = images, device
        self._halved = device.type == "cuda" if halved is None else halved
        self._logits: WholeFeatures | None = None
        self._features: dict[str, HalvedFeatures | WholeFeatures] = {}
        start = 0
        for given in passes:
            if self._logits is None:
                self._logits = self._make_room(given)
            self._logits.put(start, given.logits)
            for name, values in given.features.items():
                self._features[name].put(start, values)
            start += len(given.logits)

    def _make_room(self, given: Captured) -> WholeFeatures:
        """Take the memory for all images, once one batch has told what each of them gives."""
        sizes = [math.prod(one.shape[1:]) * self._width(one) for one in (given.logits, *given.features.values())]
        where = _place(self._images * sum(sizes), self._device)
        self._features = {
            name: HalvedFeatures(self._images, tuple(one.shape[1:]), where)
            if self._is_halved(one)
            else WholeFeatures(self._images, one, where)
            for name, one in given.features.items()
        }
        return WholeFeatures(self._images, given.logits, where)

    def _is_halved(self, features: Tensor) -> bool:
        return self._halved and features.dtype == torch.float32

    def _width(self, output: Tensor) -> int:
        """Bytes of a number."""
        return 2 if self._is_halved(output) else output.element_size()

    def outputs(self, positions: Tensor) -> Captured:
        """Logits and features of images by their position among the training images, (batch,) on the CPU.

        Raises:
            ValueError: if there were no images.
        """
        if self._logits is None:
            raise ValueError("no image was shown to the teacher")
        if self._logits.values.device.type != "cpu":
            positions = to_device(positions, self._device)  # once for all layers
        return Captured(
            self._logits.rows(positions, self._device),
            {name: features.rows(positions, self._device) for name, features in self._features.items()},
        )


def _place(size: int, device: torch.device) -> torch.device:
    """Where so many bytes of outputs lie that are wanted on a device; what becomes of a GPU's is said.

    Raises:
        LayerprobeError: if there is no room for them.
    """
    takes = f"the teacher's outputs of all training images take {size / 1e9:.1f} GB"
    if device.type == "cuda":
        free = free_memory(device)
        if size <= free // SHARE_OF_DEVICE:
            _log.info("%s of %s, features in 16 bits", takes, device)
            return device
        _log.info(
            "%s, more than half of what is free on %s (%.1f GB): they stay in the memory of the machine, features in "
            "16 bits",
            takes,
            device,
            free / 1e9,
        )
    host = torch.device("cpu")
    if size > (free := free_memory(host)):
        raise LayerprobeError(f"{takes}, and {free / 1e9:.1f} GB are free; leave --cache-teacher out")
    return host if device.type == "cuda" else device
