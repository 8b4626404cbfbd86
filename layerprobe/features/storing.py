"""From the network's tensors to rows on disk, in a thread beside the next forward pass."""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import torch
from torch import Tensor

from layerprobe.errors import LayerprobeError
from layerprobe.features.reduce import Step
from layerprobe.features.writer import FeatureFileWriter
from layerprobe.types import StoredLayer

_log = logging.getLogger(__name__)

_WAITING = 2
"""Batches that may wait for the disk; their features are what the run keeps in memory."""


class BackgroundStore:
    """Reduces and converts batches of features, and writes them in a thread of its own.

    Leaving the context waits for the last batch.

    Args:
        writer: of the file.
        layers: what is stored of each layer, and the steps that make it.
        dtype: ``float32`` or ``float16``.
        amp: whether the network computes in 16 bits; a value that isn't finite then stops the run.
    """

    def __init__(
        self, writer: FeatureFileWriter, layers: Mapping[StoredLayer, Sequence[Step]], dtype: str, amp: bool = False
    ) -> None:
        self._writer = writer
        self._steps = {stored.layer.name: steps for stored, steps in layers.items()}
        self._extremes: dict[str, Tensor] = {}
        self._dtype: torch.dtype = getattr(torch, dtype)
        self._amp = amp
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._waiting: deque[Future[None]] = deque()
        self._warned: set[str] = set()

    def keep(self, layer: str, features: Tensor) -> Tensor:
        """Reduce and convert what a layer put out, the moment it is there; its own memory can then be used again.

        Args:
            layer: its name.
            features: (batch, ...) on any device.
        """
        for step in self._steps[layer]:
            features = step(features)
        self._extremes[layer] = torch.stack(torch.aminmax(features.detach())).float()
        return _to_host(features.to(self._dtype, memory_format=torch.contiguous_format))

    def put(self, start: int, kept: Mapping[str, Tensor]) -> None:
        """Have one batch written; waits only where the disk is slower than the network.

        Args:
            start: row of the batch's first image.
            kept: what ``keep`` made of every layer, by name.

        Raises:
            LayerprobeError: if an earlier batch had a value beyond float16.
            OSError: if an earlier batch could not be written.
        """
        limits = _to_host(torch.stack([self._extremes[layer] for layer in self._steps]))
        arrived = None
        if next(iter(self._extremes.values())).is_cuda:
            arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            arrived.record()
        if len(self._waiting) >= _WAITING:
            self._waiting.popleft().result()
        values = [kept[layer] for layer in self._steps]
        self._waiting.append(self._thread.submit(self._write, start, values, limits, arrived))

    def _write(self, start: int, features: list[Tensor], limits: Tensor, arrived: torch.cuda.Event | None) -> None:
        if arrived is not None:
            arrived.synchronize()
        self._check(limits)
        self._writer.write(start, [values.numpy() for values in features])

    def _check(self, limits: Tensor) -> None:
        """Stop at a value that 16 bits made infinite, or would; say so where the network itself gives no number."""
        for layer, (low, high) in zip(self._steps, limits.tolist(), strict=True):
            largest = max(abs(low), abs(high))
            if not math.isfinite(low + high):
                if self._amp:
                    raise LayerprobeError(f"layer {layer!r} has values that are not finite; leave --amp out")
                if layer not in self._warned:
                    self._warned.add(layer)
                    _log.warning("layer %r has values that are not finite: look at the weights and the images", layer)
            elif self._dtype == torch.float16 and largest > torch.finfo(torch.float16).max:
                raise LayerprobeError(
                    f"layer {layer!r} has values up to {largest:.3g}, beyond float16 (65504); use --dtype float32"
                )

    def __enter__(self) -> BackgroundStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown()
        for written in self._waiting:
            if error is None:
                written.result()


def _to_host(tensor: Tensor) -> Tensor:
    """A copy in page-locked memory, still on its way when this returns; on the CPU the tensor itself."""
    if not tensor.is_cuda:
        return tensor.cpu()
    host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    return host.copy_(tensor, non_blocking=True)
