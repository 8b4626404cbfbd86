"""Who works on what, among processes on any number of machines that share a folder."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from layerprobe.errors import FileError
from layerprobe.files import read_json
from layerprobe.records.grid_files import ClaimHolder
from layerprobe.records.parsing import parse

EXPIRES = 600.0
"""Seconds without a sign of life after which a claim is free again."""


class ClaimLostError(Exception):
    """Another worker has taken over, since this one gave no sign of life for too long."""


class Claims:
    """Claims of names in a folder: at most one worker holds a name.

    The n-th claim of a name is a file ``NAME.n``, which one process alone can create; it may do so where the claim
    before it was released or has expired. No file is renamed or reused, so that two workers that see the same dead
    claim can't both take over. A claim is alive while its file's time is renewed, by the clock of the file system,
    which the machines share; or, of a process on this machine, while the process lives.

    Args:
        folder: of the claims; made when it is missing.
        expires: seconds after which a claim without a sign of life is free.
    """

    def __init__(self, folder: Path, expires: float = EXPIRES) -> None:
        self.folder, self.expires = folder, expires

    def take(self, name: str) -> Claim | None:
        """Claim a name; None where somebody holds it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        number = self.latest(name)
        if number and self._alive(self._path(name, number)):
            return None
        path = self._path(name, number + 1)
        try:
            with path.open("x", encoding="utf-8") as file:
                json.dump({"place": _place(), "host": socket.gethostname(), "pid": os.getpid()}, file)
        except FileExistsError:
            return None
        return Claim(self, name, number + 1)

    def held(self, name: str) -> bool:
        """Whether somebody holds a name."""
        number = self.latest(name)
        return number > 0 and self._alive(self._path(name, number))

    def latest(self, name: str) -> int:
        """Number of the newest claim of a name; 0: there was none."""
        numbers = (path.name.rpartition(".")[2] for path in self.folder.glob(f"{_escaped(name)}.*"))
        return max((int(number) for number in numbers if number.isdigit()), default=0)

    def deaths(self) -> Counter[str]:
        """How many claims of each name ended without being released: their holders died, or gave no sign of life."""
        if not self.folder.is_dir():
            return Counter()
        unreleased = [path for path in self.folder.iterdir() if _is_claim(path) and path.stat().st_mtime != 0]
        return Counter(path.name.rpartition(".")[0] for path in unreleased if not self._alive(path))

    def forget_deaths(self, name: str) -> None:
        """Have the claims of a name that ended without being released count as released."""
        for path in self.folder.glob(f"{_escaped(name)}.*"):
            if _is_claim(path) and not self._alive(path):
                os.utime(path, (0, 0))

    def _path(self, name: str, number: int) -> Path:
        return self.folder / f"{name}.{number}"

    def _alive(self, path: Path) -> bool:
        renewed = path.stat().st_mtime
        holder = _holder(path)
        if renewed == 0 or (holder is not None and holder.place == _place() and not _lives(holder.pid)):
            return False
        return self._now() - renewed < self.expires

    def _now(self) -> float:
        """The file system's time."""
        probe = self.folder / f".now-{socket.gethostname()}-{os.getpid()}-{threading.get_ident()}"
        probe.touch()
        try:
            return probe.stat().st_mtime
        finally:
            probe.unlink(missing_ok=True)


@dataclass
class Claim:
    """A name that is held.

    Attributes:
        claims: where.
        name: which.
        number: of the claim among those of the name.
    """

    claims: Claims
    name: str
    number: int
    _renewed: float = field(default_factory=time.monotonic, repr=False)
    _lost: threading.Event = field(default_factory=threading.Event, repr=False)

    @contextmanager
    def kept(self) -> Iterator[Claim]:
        """Renew the claim while the block runs, and release it at its end, however it ends."""
        done = threading.Event()

        def renew() -> None:
            while not (done.wait(self.claims.expires / 6) or self._lost.is_set()):
                with contextlib.suppress(OSError, ClaimLostError):  # the thread that works learns it from ``check``
                    self._renew()

        thread = threading.Thread(target=renew, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            done.set()
            thread.join()
            with contextlib.suppress(OSError):
                os.utime(self._path, (0, 0))

    def check(self) -> None:
        """Make sure that the claim is still ours; it costs nothing while it is renewed in time.

        Raises:
            ClaimLostError: if another worker has taken over.
        """
        if self._lost.is_set() or time.monotonic() - self._renewed > self.claims.expires / 2:
            self._renew()

    @property
    def _path(self) -> Path:
        return self.claims.folder / f"{self.name}.{self.number}"

    def _renew(self) -> None:
        if self._lost.is_set() or self.claims.latest(self.name) != self.number:
            self._lost.set()
            raise ClaimLostError(f"another worker has taken {self.name} over")
        self._path.touch()
        self._renewed = time.monotonic()


def _holder(path: Path) -> ClaimHolder | None:
    """Who holds a claim; None where it doesn't say: it is being written at this moment, or its writer died there."""
    try:
        return parse(ClaimHolder, read_json(path, "claim", ""), path, "")
    except FileError:
        return None


def _is_claim(path: Path) -> bool:
    return path.suffix[1:].isdigit() and not path.name.startswith(".")


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _place() -> str:
    """Where process numbers mean the same: this machine since it was started, and this container."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return " ".join(parts)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
