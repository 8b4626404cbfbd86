"""At most one worker holds a name; a dead one's claim is free again."""

import errno
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from layerprobe.experiments.grid.claims import LONGEST_WRITE, Claim, ClaimLostError, Claims
from layerprobe.files import create_text


def path_of(claim: Claim) -> Path:
    return claim.claims.folder / f"{claim.name}.{claim.number}"


def shift(claim: Claim, seconds: float) -> None:
    """Move the time of a claim's file, as a clock that jumps does."""
    then = path_of(claim).stat().st_mtime + seconds
    os.utime(path_of(claim), (then, then))


def held_by(claim: Claim, **other: object) -> None:
    """Put another holder into a claim."""
    path = path_of(claim)
    times = path.stat().st_atime, path.stat().st_mtime
    path.write_text(json.dumps({**json.loads(path.read_text()), **other}))
    os.utime(path, times)


def die(claim: Claim) -> None:
    """Have the holder be dead: its number belongs to another process now."""
    held_by(claim, start=1)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How much later than it is this process's monotonic clock says it is."""
    later, monotonic = [0.0], time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + later[0])
    return later


def test_a_name_is_held_by_one(tmp_path: Path) -> None:
    claims = Claims(tmp_path / "claims")
    assert not claims.held("a")
    first = claims.take("a")
    assert first and claims.held("a") and claims.take("a") is None
    assert claims.take("b") and claims.take("a*") and not claims.held("[a]")


def test_of_many_that_try_at_once_one_gets_it(tmp_path: Path) -> None:
    claims, barrier = Claims(tmp_path), threading.Barrier(16)
    stale = claims.take("a")
    assert stale
    die(stale)
    won: list[int] = []

    def race() -> None:
        barrier.wait()
        claim = claims.take("a")
        if claim:
            won.append(claim.number)

    threads = [threading.Thread(target=race) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert won == [2]


def test_a_released_claim_is_free(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    claim = claims.take("a")
    assert claim
    with pytest.raises(RuntimeError, match="inside"), claim.kept():
        assert claims.take("a") is None
        raise RuntimeError("inside")
    again = claims.take("a")
    assert again and again.number == 2


def test_a_claim_of_another_machine_is_free_when_it_was_not_renewed_for_so_long(
    tmp_path: Path, clock: list[float]
) -> None:
    claims = Claims(tmp_path, expires=100)
    claim = claims.take("a")
    assert claim
    held_by(claim, place="another machine")
    assert claims.take("a") is None
    clock[0] += 90
    assert claims.take("a") is None
    path_of(claim).touch()  # it was renewed
    clock[0] += 90
    assert claims.take("a") is None
    clock[0] += 90
    assert claims.take("a") is None  # seen renewed 90 seconds ago
    clock[0] += 20
    assert claims.take("a")


@pytest.mark.parametrize("hour", [3600.0, -3600.0])
def test_a_clock_that_jumps_ends_no_claim(tmp_path: Path, clock: list[float], hour: float) -> None:
    claims = Claims(tmp_path, expires=100)
    here, elsewhere = claims.take("here"), claims.take("elsewhere")
    assert here and elsewhere
    held_by(elsewhere, place="another machine")
    for claim in (here, elsewhere):
        assert claims.take(claim.name) is None
        shift(claim, hour)
        assert claims.take(claim.name) is None and not claims.deaths()
    clock[0] += 1000  # this machine was suspended: whoever holds the other claim goes on renewing it
    path_of(elsewhere).touch()
    for claim in (here, elsewhere):
        assert claims.take(claim.name) is None and claims.held(claim.name) and not claims.deaths()
        claim.check()
    shift(here, -10 * 3600)
    assert claims.held("here") and claims.take("here") is None


def test_one_look_believes_the_clock_of_the_file_system(tmp_path: Path) -> None:
    """A report that sees a folder once says that a cell waits, and takes nothing."""
    claims = Claims(tmp_path, expires=100)
    claim = claims.take("a")
    assert claim
    held_by(claim, place="another machine")
    assert claims.held("a")
    shift(claim, -1000)
    assert not claims.held("a") and claims.take("a") is None


def test_a_number_that_another_process_has_now_holds_nothing(tmp_path: Path) -> None:
    claims = Claims(tmp_path)
    claim = claims.take("a")
    assert claim and claims.held("a")
    die(claim)
    assert not claims.held("a") and claims.deaths() == {"a": 1} and claims.take("a")
    old = claims.take("b")
    assert old
    held_by(old, start=None)  # as version 0.1.0 wrote it
    assert claims.held("b")


def test_a_process_that_has_ended_holds_nothing_though_nobody_has_asked_for_it(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", TAKE, str(tmp_path)])
    claims = Claims(tmp_path)
    deadline = time.monotonic() + 60
    while not claims.latest("a") or claims.held("a"):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, 0)  # its number is still taken
    assert process.wait() == 0


def test_a_claim_is_renewed_while_it_is_kept(tmp_path: Path) -> None:
    claims = Claims(tmp_path, expires=0.6)
    claim = claims.take("a")
    assert claim
    with claim.kept():
        threading.Event().wait(1.5)
        assert claims.held("a")
        claim.check()


def test_who_was_taken_over_is_told(tmp_path: Path) -> None:
    claims = Claims(tmp_path, expires=100)
    claim = claims.take("a")
    assert claim
    claim.check()
    (tmp_path / "a.2").touch()
    claim._renewed -= 1000  # as after a long sleep
    with pytest.raises(ClaimLostError, match="another worker has taken a over"):
        claim.check()


def test_who_was_taken_over_is_told_also_where_the_renewal_found_out(tmp_path: Path) -> None:
    """A process that was suspended: its claim expired, and the thread that renews claims is the first to wake up."""
    claims = Claims(tmp_path, expires=0.3)
    claim = claims.take("a")
    assert claim
    with claim.kept():
        (tmp_path / "a.2").touch()
        assert claim._lost.wait(5)
        claim._renewed += 1000  # by its own clock nothing happened
        with pytest.raises(ClaimLostError, match="another worker has taken a over"):
            claim.check()


TAKE = (
    "import sys, pathlib; from layerprobe.experiments.grid.claims import Claims; "
    "Claims(pathlib.Path(sys.argv[1])).take('a')"
)


@pytest.mark.skipif(not Path("/proc/self/ns/pid").exists(), reason="processes are told apart on Linux")
def test_a_dead_process_of_this_machine_holds_nothing(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", TAKE, str(tmp_path)], check=True)
    claims = Claims(tmp_path)
    assert (tmp_path / "a.1").exists() and not claims.held("a")
    holder = json.loads((tmp_path / "a.1").read_text())
    (tmp_path / "a.1").write_text(json.dumps({**holder, "place": "another machine"}))
    assert claims.held("a")  # it may live there


def test_claims_that_ended_unreleased_are_counted_until_they_are_forgotten(tmp_path: Path) -> None:
    claims = Claims(tmp_path / "claims", expires=100)
    assert not claims.deaths()
    for _ in range(2):
        claim = claims.take("a.b")
        assert claim
        die(claim)
    released = claims.take("a.b")
    assert released
    with released.kept():
        assert claims.take("c") and claims.deaths() == {"a.b": 2}
    assert claims.deaths() == {"a.b": 2}
    claims.forget_deaths("a.b")
    assert not claims.deaths() and claims.latest("a.b") == 3 and claims.held("c")


def test_a_claim_that_names_no_holder_is_free_after_some_seconds(tmp_path: Path, clock: list[float]) -> None:
    """Version 0.1.0 made a claim and then filled it; it could be killed in between."""
    claims = Claims(tmp_path)
    (tmp_path / "a.1").touch()
    assert claims.held("a") and claims.take("a") is None
    clock[0] += LONGEST_WRITE - 1
    assert claims.take("a") is None
    clock[0] += 2
    assert claims.take("a")


@pytest.mark.parametrize("links", [True, False])
def test_a_claim_appears_with_its_content_and_once(
    links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked: list[str] = []
    link = os.link

    def look(partial: Path, path: Path) -> None:
        linked.append(partial.read_text())
        if not links:
            raise OSError(errno.EPERM, "Operation not permitted")
        link(partial, path)

    monkeypatch.setattr(os, "link", look)
    assert Claims(tmp_path).take("a")
    assert json.loads(linked[0]) == json.loads((tmp_path / "a.1").read_text())
    with pytest.raises(FileExistsError):
        create_text(tmp_path / "a.1", "mine")
    assert json.loads(linked[0]) == json.loads((tmp_path / "a.1").read_text())
    assert [path.name for path in tmp_path.iterdir()] == ["a.1"]


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    program = (
        "import os, sys, pathlib; from layerprobe.experiments.grid.claims import Claims\n"
        "os.link = lambda *_: os.kill(os.getpid(), 9)\nClaims(pathlib.Path(sys.argv[1])).take('a')"
    )
    killed = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)])
    assert killed.wait() == -9
    (left,) = tmp_path.iterdir()  # no claim
    host = socket.gethostname()
    probe, of_a_live_one = tmp_path / f".now-{host}-{killed.pid}-77", tmp_path / f".now-{host}-{os.getpid()}-7"
    probe.touch()
    of_a_live_one.touch()
    assert Claims(tmp_path).take("a")
    assert {path.name for path in tmp_path.iterdir()} == {"a.1", of_a_live_one.name} and not left.exists()
