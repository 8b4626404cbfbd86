"""Places that a program can't use, and every command with what it reads and writes there."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import pytest

NETWORK = ("--data", "digits", "--device", "cpu")
BRIEF = ("--train-samples", "60", "--test-samples", "50", "--batch-size", "30", "--epochs", "1")
DISTILL = (
    "distill", "--teacher", "net.py:wide", "--teacher-weights", "teacher/model.safetensors", "--student",
    "net.py:narrow", *NETWORK, *BRIEF,
)  # fmt: skip
EXTRACT = ("extract", "--model", "net.py:wide", *NETWORK, "--samples", "30")
WEIGHTS = ("--weights", "teacher/model.safetensors")

WRITES: dict[str, tuple[str, ...]] = {
    "extract": (*EXTRACT, *WEIGHTS, "--output", "{}/f.h5"),
    "extract --stats-only": (*EXTRACT, *WEIGHTS, "--stats-only", "--output", "{}/f.h5"),
    "rank": ("rank", "features.h5", "--top", "2", "--resamples", "0", "--ranking", "{}/r.json"),
    "rank --output": (
        "rank", "features.h5", "--top", "2", "--resamples", "20", "--statistics", "collapse", "--output", "{}/figures",
    ),
    "compare-layers": ("compare-layers", "features.h5", "--output", "{}/figures"),
    "distill": (*DISTILL, "--layers", "3,4", "--output", "{}/run"),
    "train": ("train", "--model", "net.py:narrow", *NETWORK, *BRIEF, "--output", "{}/run"),
    "evaluate": ("evaluate", "student", "--allow-code", "--device", "cpu", "--samples", "50", "--output", "{}/figures"),
    "compare": ("compare", "grid.yaml", "--output", "{}/grid"),
    "validate": ("validate", "validate.yaml", "--output", "{}/grid"),
    "report": ("report", "grid", "--output", "{}/report"),
    "report --study": ("report", "grid", "--output", "report", "--study", "{}/study"),
    "demo": ("demo", "--output", "{}/demo"),
}  # fmt: skip
"""What every command that writes is told, in the folder of files of version 0.1.0; ``{}`` is where it writes."""
ONLY_PRINTS = ("layers", "inspect")
READS: dict[str, tuple[str, ...]] = {
    "inspect": ("inspect", "{}.h5"),
    "rank": ("rank", "{}.h5"),
    "compare-layers": ("compare-layers", "features.h5", "{}.h5"),
    "rank --style": ("rank", "features.h5", "--top", "2", "--style", "{}.mplstyle", "--output", "figures"),
    "rank --by": ("rank", "features.h5", "--by", "{}.py:score"),
    "layers": ("layers", "--model", "{}.py:net"),
    "extract --weights": (*EXTRACT, "--weights", "{}.pt", "--output", "f.h5"),
    "extract --data": ("extract", "--model", "net.py:wide", *WEIGHTS, "--data", "{}", "--output", "f.h5"),
    "distill --layers": (*DISTILL, "--layers", "{}.json", "--output", "run"),
    "distill --config": ("distill", "--config", "{}.yaml", "--output", "run"),
    "train --model": ("train", "--model", "{}.py:net", *NETWORK, *BRIEF, "--output", "run"),
    "compare": ("compare", "{}.yaml", "--output", "new"),
    "validate": ("validate", "{}.yaml", "--output", "new"),
    "evaluate": ("evaluate", "{}"),
    "report": ("report", "{}"),
}  # fmt: skip
"""What every command that reads is told; ``{}`` and an ending is what it reads."""
OUTPUTS: dict[str, tuple[str, ...]] = {
    "extract": (*EXTRACT, *WEIGHTS, "--overwrite", "--output", "{}"),
    "extract --stats-only": (*EXTRACT, *WEIGHTS, "--stats-only", "--overwrite", "--output", "{}"),
    "rank --ranking": (
        "rank", "features.h5", "--top", "2", "--resamples", "0", "--overwrite", "--ranking", "{}.json",
    ),
    "rank --output": ("rank", "features.h5", "--top", "2", "--overwrite", "--output", "{}"),
    "compare-layers": ("compare-layers", "features.h5", "--overwrite", "--output", "{}"),
    "distill": (*DISTILL, "--layers", "3,4", "--overwrite", "--output", "{}"),
    "train": ("train", "--model", "net.py:narrow", *NETWORK, *BRIEF, "--overwrite", "--output", "{}"),
    "evaluate": ("evaluate", "student", "--allow-code", "--overwrite", "--samples", "50", "--output", "{}"),
    "compare": ("compare", "grid.yaml", "--output", "{}"),
    "validate": ("validate", "validate.yaml", "--output", "{}"),
    "report": ("report", "grid", "--output", "{}"),
    "report --study": ("report", "grid", "--output", "report", "--study", "{}"),
    "demo": ("demo", "--overwrite", "--output", "{}"),
}  # fmt: skip
"""What every command that writes is told, with leave to overwrite; ``{}`` is the output itself."""


def told(arguments: tuple[str, ...], what: Path | str) -> list[str]:
    """The words of a command, with what stands for ``{}``."""
    return [word.format(what) for word in arguments]


def make_pipe(path: Path) -> None:
    os.mkfifo(path)


SPECIAL: dict[str, Callable[[Path], None]] = {
    "a pipe": make_pipe,
    "a device without end": lambda path: path.symlink_to("/dev/zero"),
    "a full device": lambda path: path.symlink_to("/dev/full"),
    "a terminal": lambda path: path.symlink_to("/dev/tty"),
    "a circle of links": lambda path: path.symlink_to(path),
}
"""What may stand at a path in place of a file, and how it is made."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Fail where a block hangs, also where what it runs takes the failure for its own."""
    late: list[int] = []

    def fail(number: int, frame: FrameType | None) -> None:
        late.append(number)
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, fail)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        assert not late, f"not done after {seconds} s"


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[None]:
    """A folder with room for so much; where disks can't be mounted, no file may be larger than a part of that."""
    if _mounted("tmpfs", folder, f"size={kilobytes}k"):
        try:
            yield
        finally:
            subprocess.run(["umount", "-l", folder], check=True)
        return
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (kilobytes * 256, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """A folder that nobody can write to, root least of all where disks can be mounted."""
    mounted = _mounted("tmpfs", folder, "size=100k") and not subprocess.call(
        ["mount", "-o", "remount,ro", folder], stderr=subprocess.DEVNULL
    )
    if not mounted and os.geteuid() == 0:
        pytest.skip("root can write everywhere, and can't mount here")
    if not mounted:
        folder.chmod(0o555)
    try:
        yield
    finally:
        if mounted:
            subprocess.run(["umount", "-l", folder], check=True)
        else:
            folder.chmod(0o755)


def _mounted(kind: str, folder: Path, options: str) -> bool:
    command = ["mount", "-t", kind, "-o", options, kind, str(folder)]
    return os.geteuid() == 0 and not subprocess.call(command, stderr=subprocess.DEVNULL)
