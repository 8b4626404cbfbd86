"""Who works on what, among processes on any number of machines that share a folder."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path

from layerprobe.errors import FileError
from layerprobe.files import create_text, read_json
from layerprobe.records.grid_files import ClaimHolder
from layerprobe.records.parsing import parse
from layerprobe.runtime.alive import lives, place, start_of

EXPIRES = 600.0
"""Seconds without a sign of life after which a claim is free again."""
LONGEST_WRITE = 10.0
"""Seconds after which a claim is free that names no holder: its writer was killed while it wrote it."""

_seen: dict[Path, tuple[int, float]] = {}
"""Of claims: their files' time in nanoseconds, and when this process first saw it, by its own monotonic clock."""


class ClaimLostError(Exception):
    """Another worker has taken over, since this one gave no sign of life for too long."""


class Claims:
    """Claims of names in a folder: at most one worker holds a name.

    The n-th claim of a name is a file ``NAME.n``, which one process alone can create; it may do so where the claim
    before it was released or its holder is dead. No file is renamed or reused, so that two workers that see the same
    dead claim can't both take over.

    Of a process on this machine the machine is asked whether it lives. One on another machine lives while it renews
    its file's time: its claim is free once that time has stood still for ``expires`` seconds of this process's own
    monotonic clock. No clock is compared with another, so that none ends a claim by jumping.

    Args:
        folder: of the claims; made when it is missing.
        expires: seconds after which a claim without a sign of life is free.
    """

    def __init__(self, folder: Path, expires: float = EXPIRES) -> None:
        self.folder, self.expires = folder, expires

    def take(self, name: str) -> Claim | None:
        """Claim a name; None where somebody holds it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._remove_probes()
        number = self.latest(name)
        if number and self._alive(self._path(name, number)):
            return None
        holder = ClaimHolder(place(), socket.gethostname(), os.getpid(), start_of(os.getpid()))
        try:
            create_text(self._path(name, number + 1), json.dumps(asdict(holder)))
        except FileExistsError:
            return None
        return Claim(self, name, number + 1)

    def held(self, name: str) -> bool:
        """Whether somebody holds a name, at a single look: of other machines the file system's clock is believed."""
        number = self.latest(name)
        if not number:
            return False
        path = self._path(name, number)
        holder = _holder(path)
        here = holder is not None and holder.place == place()
        return self._alive(path) and (here or self._now() - path.stat().st_mtime < self.expires)

    def latest(self, name: str) -> int:
        """Number of the newest claim of a name; 0: there was none."""
        numbers = (path.name.rpartition(".")[2] for path in self.folder.glob(f"{_escaped(name)}.*"))
        return max((int(number) for number in numbers if number.isdigit()), default=0)

    def deaths(self) -> Counter[str]:
        """How many claims of each name ended without being released: their holders died, or gave no sign of life."""
        if not self.folder.is_dir():
            return Counter()
        claims = [path for path in self.folder.iterdir() if _is_claim(path)]
        newest = Counter[str]()
        for path in claims:
            newest[path.stem] = max(newest[path.stem], _number(path))
        # What was taken over was free.
        dead = (path for path in claims if _number(path) < newest[path.stem] or not self._alive(path))
        return Counter(path.stem for path in dead if path.stat().st_mtime != 0)

    def forget_deaths(self, name: str) -> None:
        """Have the claims of a name that ended without being released count as released."""
        newest = self.latest(name)
        for path in self.folder.glob(f"{_escaped(name)}.*"):
            if _is_claim(path) and (_number(path) < newest or not self._alive(path)):
                os.utime(path, (0, 0))

    def _path(self, name: str, number: int) -> Path:
        return self.folder / f"{name}.{number}"

    def _alive(self, path: Path) -> bool:
        renewed = path.stat().st_mtime_ns
        if renewed == 0:
            return False
        holder = _holder(path)
        if holder is not None and holder.place == place():
            return lives(holder.pid, holder.start)
        now = time.monotonic()
        known, since = _seen.get(path, (renewed, now))
        _seen[path] = renewed, since if known == renewed else now
        return now - _seen[path][1] < (LONGEST_WRITE if holder is None else self.expires)

    def _now(self) -> float:
        """The file system's time, which the machines share; this machine's where the folder is only to be read."""
        try:
            with tempfile.TemporaryFile(dir=self.folder, prefix=".now-") as probe:
                return os.fstat(probe.fileno()).st_mtime
        except OSError:
            return time.time()

    def _remove_probes(self) -> None:
        """Delete what killed processes of version 0.1.0 left on this machine when they asked for the time."""
        for path in self.folder.glob(f".now-{socket.gethostname()}-*-*"):
            pid = path.name.split("-")[-2]
            if pid.isdecimal() and not lives(int(pid)):
                path.unlink(missing_ok=True)


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
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _released: bool = field(default=False, repr=False)

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
            self._release()  # first of all: a second interruption may end what follows
            done.set()
            thread.join()

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

    def _release(self) -> None:
        with self._turn, contextlib.suppress(OSError):
            self._released = True
            os.utime(self._path, (0, 0))

    def _renew(self) -> None:
        if self._lost.is_set() or self.claims.latest(self.name) != self.number:
            self._lost.set()
            raise ClaimLostError(f"another worker has taken {self.name} over")
        with self._turn:
            if not self._released:
                self._path.touch()
                self._renewed = time.monotonic()


def _holder(path: Path) -> ClaimHolder | None:
    """Who holds a claim; None where it doesn't say: version 0.1.0 made a claim first, and then wrote into it."""
    try:
        return parse(ClaimHolder, read_json(path, "claim", ""), path, "")
    except FileError:
        return None


def _is_claim(path: Path) -> bool:
    return path.suffix[1:].isdigit() and not path.name.startswith(".")


def _number(path: Path) -> int:
    return int(path.suffix[1:])


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
