"""Freed memory stays with a training, and goes back to the system after it."""

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import resource, torch
from pathlib import Path
from layerprobe.distill.heap import keeping_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    blocks = [torch.ones(2**22) for _ in range(8)]
    del blocks
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()

faults(), faults()
without, before = faults(), resident()
with keeping_freed_memory():
    faults()
    print(faults(), without)
    print(resident() - before)
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc alone gives memory back so eagerly")
def test_freed_memory_is_kept_for_the_length_of_a_block(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 8 * 4 * 2**22
    monkeypatch.delenv("MALLOC_TRIM_THRESHOLD_", raising=False)
    printed = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    kept_faults, faults, kept, left = map(int, printed.split())
    assert kept_faults * 10 < faults
    assert kept > 0.9 * size > 0.1 * size > left


def test_an_allocator_that_was_told_otherwise_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "131072")
    printed = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True).stdout
    kept_faults, faults, *_ = map(int, printed.split())
    assert kept_faults * 10 > faults
