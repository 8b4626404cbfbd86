"""This process among those that ``accelerate launch`` or ``torchrun`` started."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

import torch
from accelerate import PartialState

_PATIENCE = timedelta(days=7)
"""How long one waits for another: that one may read a file of terabytes back, or have the slowest disk."""


@dataclass(frozen=True)
class Processes:
    """The processes that share one extraction.

    Attributes:
        index: this one's number.
        count: how many there are.
    """

    index: int = 0
    count: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this is the one that lays the file out and marks it complete."""
        return self.index == 0

    def wait(self) -> None:
        """Return when all of them are here."""
        if self.count > 1:
            PartialState().wait_for_everyone()


def join_processes(device: str) -> Processes:
    """Meet the other processes, if there are any.

    Args:
        device: where the network will run; ``cpu``, or a machine without a GPU, makes them talk over gloo.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Processes()
    state = PartialState(cpu=device == "cpu" or not torch.cuda.is_available(), timeout=_PATIENCE)
    return Processes(state.process_index, state.num_processes)
