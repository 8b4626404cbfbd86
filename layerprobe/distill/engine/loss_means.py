"""What the loss terms were over an epoch."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from layerprobe.runtime.process_group import ProcessGroup


class LossMeans:
    """Loss terms of an epoch; they stay on the device until their means are needed."""

    def __init__(self) -> None:
        self._values: dict[str, Tensor] = {}
        self._images = 0

    def add(self, terms: Mapping[str, Tensor], images: int) -> None:
        """Count the terms of a batch, means over so many images."""
        for name, value in terms.items():
            value = value.detach() * images
            self._values[name] = self._values[name] + value if name in self._values else value
        self._images += images

    def of(self, processes: ProcessGroup) -> dict[str, float]:
        """Mean of every term over the images of all processes."""
        values = torch.stack(list(self._values.values()))
        values = values.float() if values.device.type == "mps" else values.double()
        count = torch.tensor([self._images], dtype=values.dtype, device=values.device)
        *sums, images = processes.total(torch.cat([values, count])).tolist()
        return {name: value / images for name, value in zip(self._values, sums, strict=True)}
