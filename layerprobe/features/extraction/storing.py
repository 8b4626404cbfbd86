"""From the network's tensors to rows on disk."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from layerprobe.features.extraction.reduce import Step
from layerprobe.records import StoredLayer

_log = logging.getLogger(__name__)


class RowSink(Protocol):
    """Where rows go: a feature file, or memory. Threads may share it."""

    @property
    def rows_done(self) -> int:
        """How many rows are there."""
        ...

    def write(self, start: int, features: Sequence[npt.NDArray[Any]]) -> None:
        """Take rows ``start``, ``start + 1``, ...: of every layer, in order, an array (batch, ...)."""
        ...


class RowStore:
    """Reduces and converts what the layers of a batch put out, checks it and writes it. Threads may share it.

    Args:
        sink: where the rows go.
        layers: what is stored of each layer, and the steps that make it.
        dtype: ``float32`` or ``float16``.
        amp: whether the network computes in 16 bits.
        device: where it computes; None: on the CPU.

    Attributes:
        copies: what brings the rows into the memory of the machine.
    """

    def __init__(
        self,
        sink: RowSink,
        layers: Mapping[StoredLayer, Sequence[Step]],
        dtype: str,
        amp: bool = False,
        device: torch.device | None = None,
    ) -> None:
        self._sink = sink
        self._steps = {stored.layer.name: steps for stored, steps in layers.items()}
        self._dtype: torch.dtype = getattr(torch, dtype)
        self._amp = amp
        self.copies = HostCopies(device or torch.device("cpu"))
        self._warned: set[str] = set()

    def keep(self, layer: str, features: Tensor) -> Tensor:
        """Reduce and convert what a layer put out, the moment it is there; its own memory can then be used again.

        Args:
            layer: its name.
            features: (batch, ...) on any device.

        Returns:
            Rows in the CPU's memory, with no more memory than theirs; from a CUDA device they are still on their way.
        """
        rows = features
        for step in self._steps[layer]:
            rows = step(rows)
        rows = rows.to(self._dtype, memory_format=torch.contiguous_format)
        overwritten = rows.untyped_storage().data_ptr() == features.untyped_storage().data_ptr()
        return self.copies.take(rows, overwritten)

    def write(self, start: int, kept: Mapping[str, Tensor]) -> None:
        """Write one batch. Of every layer with values that are not finite a warning is logged, once.

        Args:
            start: row of the batch's first image.
            kept: what ``keep`` made of every layer, by name.

        Raises:
            OSError: if the disk is full or fails.
        """
        rows = [kept[layer].numpy() for layer in self._steps]
        for layer, values in zip(self._steps, rows, strict=True):
            if not _all_finite(values):
                self._warn_of(layer, values)
        self._sink.write(start, rows)

    def _warn_of(self, layer: str, values: npt.NDArray[Any]) -> None:
        """Say what a layer's values are, and what may help; the layers beside it are not the worse for it."""
        if layer in self._warned:
            return
        self._warned.add(layer)
        if self._amp:
            what = "values that are not finite in 16 bits; leave --amp out"
        elif values.dtype == np.float16 and np.isinf(values).any():
            what = f"values beyond float16 ({np.finfo(np.float16).max:.0f}); use --dtype float32"
        else:
            what = "values that are not finite; look at the weights and the images"
        _log.warning("layer %r has %s. It will have no statistics; the other layers have theirs", layer, what)


def _all_finite(values: npt.NDArray[Any]) -> bool:
    """Whether no value is infinite or NaN, at memory speed: NumPy's own test of float16 takes ten times as long.

    Read as integers, infinity and NaN are the largest numbers of their sign.
    """
    bits = 8 * values.itemsize
    infinity = int(np.array(np.inf, values.dtype).view(f"u{values.itemsize}"))
    positive, any_sign = values.view(f"i{values.itemsize}"), values.view(f"u{values.itemsize}")
    return int(positive.max()) < infinity and int(any_sign.max()) < infinity + (1 << (bits - 1))


class HostCopies:
    """Copies of a device's tensors in the memory of the machine. A GPU makes them while it computes what comes next.

    Args:
        device: where the tensors are.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream: Any = None
        if device.type == "cuda":
            self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]

    def take(self, tensor: Tensor, overwritten: bool = True) -> Tensor:
        """A copy, from a GPU in page-locked memory and still on its way; on the CPU the tensor itself if it's whole.

        Args:
            tensor: to be copied, as it is now.
            overwritten: whether the network may change it afterwards: then a GPU makes a copy of its own first.
        """
        if self._stream is None:
            rows = tensor.cpu()
            # A class token is a view, which would keep the memory of all the tokens.
            return rows.clone() if rows.untyped_storage().nbytes() > rows.nbytes else rows
        tensor = tensor.clone() if overwritten else tensor
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            host.copy_(tensor, non_blocking=True)
        tensor.record_stream(self._stream)  # its memory is not used for anything else before it is copied
        return host

    def begun(self) -> Callable[[], object]:
        """A function that returns when the copies that were begun by now are here."""
        if self._stream is None:
            return lambda: None
        arrived: Callable[[], object] = self._stream.record_event().synchronize
        return arrived
