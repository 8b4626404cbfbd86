"""Tensors on their way to a device."""

from __future__ import annotations

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """The tensor on a device. The copy to a GPU is only begun, from page-locked memory: nobody waits for it.

    A copy from other memory would have the processor wait for all that the GPU still has to do.
    """
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def rows_to_device(table: Tensor, rows: Tensor, device: torch.device) -> Tensor:
    """Some rows of a table in the memory of the machine, or of a device, on a device, as ``to_device`` brings them.

    Args:
        table: (n, ...).
        rows: (batch,) int64; on the CPU, where the table is there.
        device: for the result, (batch, ...).
    """
    if table.device.type != "cpu" or device.type != "cuda":
        return table[to_device(rows, table.device)].to(device)
    chosen = torch.empty(len(rows), *table.shape[1:], dtype=table.dtype, pin_memory=True)
    return torch.index_select(table, 0, rows, out=chosen).to(device, non_blocking=True)
