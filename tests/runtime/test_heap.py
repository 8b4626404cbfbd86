"""Freed memory stays with a training, and goes back to the system after it."""

import os
import platform
import subprocess
import sys
from contextlib import AbstractContextManager, nullcontext

import pytest
import torch

from layerprobe.distill.engine import loop as trainer
from layerprobe.distill.run import distill_student
from layerprobe.settings.run import DistillSettings

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone gives memory back so eagerly")

SIZE = 8 * 4 * 2**22
PROGRAM = """
import ctypes, resource, torch
from pathlib import Path
from layerprobe.runtime.heap import _TRIM_THRESHOLD, keeping_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(2**22) for _ in range(8)]
    del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

libc = ctypes.CDLL(None)
libc.mallopt(_TRIM_THRESHOLD, 2**17)  # a fixed one: blocks are given back at once, whatever else lies in the heap
without = faults()
libc.malloc_trim(0)
before = resident()
try:
    with keeping_freed_memory(torch.device(DEVICE)):
        for _ in range(5):  # until the blocks have found their places in the heap
            faults()
        print(faults(), without, resident() - before)
        raise KeyError
except KeyError:
    print(resident() - before)
"""


def run(device: str = "cpu", **told: str) -> list[int]:
    """Page faults within and without, and how much more is resident within and after."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    program = PROGRAM.replace("DEVICE", repr(device))
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=plain | told)
    return [int(word) for word in ran.stdout.split()]


def test_freed_memory_is_kept_for_the_length_of_a_block() -> None:
    within, without, kept, left = run()
    assert within * 10 < without
    assert kept > 0.9 * SIZE > 0.1 * SIZE > left


@pytest.mark.parametrize(
    "told", [{"MALLOC_TRIM_THRESHOLD_": "131072"}, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"}]
)
def test_an_allocator_that_was_told_otherwise_is_left_as_it_is(told: dict[str, str]) -> None:
    within, without, *_ = run(**told)
    assert within * 10 > without


def test_beside_a_gpu_memory_is_left_as_it_is() -> None:
    within, without, *_ = run("cuda")
    assert within * 10 > without


def test_training_keeps_it(small: DistillSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    devices: list[torch.device] = []

    def spy(device: torch.device) -> AbstractContextManager[None]:
        devices.append(device)
        return nullcontext()

    monkeypatch.setattr(trainer, "keeping_freed_memory", spy)
    distill_student(small)
    assert devices == [torch.device("cpu")]
