"""The processes that train one student together, each on its part of every batch."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor, nn

from layerprobe.errors import LayerprobeError
from layerprobe.runtime.devices import resolve_device
from layerprobe.runtime.processes import join_processes

BATCH_STATISTICS = (
    "batch normalization: statistics of each process's own part of a batch; "
    "running averages are averaged over processes at every epoch's end"
)
"""What is done about batch normalization in several processes; recorded with the run."""


def start_accelerator(device: str, precision: str = "no") -> Accelerator:
    """Accelerate's view of a device, after meeting the other processes where there are any.

    Raises:
        LayerprobeError: if there is no such device, or it can't compute in this precision.
    """
    join_processes(device)
    return make_accelerator(resolve_device(device), precision)


def make_accelerator(device: torch.device, precision: str = "no") -> Accelerator:
    """Accelerate's view of a device.

    Raises:
        LayerprobeError: if the device can't compute in this precision.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    # Accelerate keeps the first precision and device of a Python process; another run may want others.
    AcceleratorState._reset_state(reset_partial_state=int(os.environ.get("WORLD_SIZE", "1")) == 1)
    try:
        return Accelerator(cpu=device.type == "cpu", mixed_precision=precision)
    except ValueError as error:
        raise LayerprobeError(f"--precision {precision} on {device}: {error}") from None


class ProcessGroup:
    """What the processes do together. One process alone does nothing.

    Gradients are summed here, after the backward pass, and not by a wrapper around the network: so layers are tapped
    by their own names, and every image counts the same where the parts of a batch differ in size.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self.count = int(accelerator.num_processes)
        self.index = int(accelerator.process_index)

    @property
    def is_main(self) -> bool:
        """Whether this process writes for all of them."""
        return self.index == 0

    def total(self, values: Tensor) -> Tensor:
        """The sum of every process's values."""
        return values if self.count == 1 else self._sum(values)

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Make every gradient the sum of the processes' own."""
        if self.count > 1:
            self._add([parameter.grad for parameter in parameters if parameter.grad is not None], divisor=1)

    def average_buffers(self, *modules: nn.Module) -> None:
        """Make every running average the mean of the processes' own."""
        if self.count > 1:
            buffers = (buffer for module in modules for buffer in module.buffers())
            self._add([buffer for buffer in buffers if buffer.is_floating_point()], divisor=self.count)

    def wait(self) -> None:
        """Return when all of them are here."""
        self._accelerator.wait_for_everyone()

    def _add(self, tensors: list[Tensor], divisor: int) -> None:
        groups: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            groups.setdefault(tensor.dtype, []).append(tensor)
        for group in groups.values():
            summed = self._sum(torch.cat([tensor.reshape(-1) for tensor in group])) / divisor
            start = 0
            for tensor in group:
                tensor.copy_(summed[start : start + tensor.numel()].view_as(tensor))
                start += tensor.numel()

    def _sum(self, values: Tensor) -> Tensor:
        summed: Tensor = self._accelerator.reduce(values, reduction="sum")
        return summed


def describe_processes(processes: ProcessGroup, modules: Iterable[nn.Module]) -> Mapping[str, object]:
    """How many there are, and what that means for batch statistics, ready for a run's configuration."""
    if processes.count == 1:
        return {"processes": 1}
    norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
    has_norm = any(isinstance(module, norms) for top in modules for module in top.modules())
    return {"processes": processes.count, **({"batch_statistics": BATCH_STATISTICS} if has_norm else {})}
