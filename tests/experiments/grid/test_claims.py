"""At most one worker holds a name; a dead one's claim is free again."""

import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from layerprobe.experiments.grid.claims import Claim, ClaimLostError, Claims


def age(claim: Claim, seconds: float) -> None:
    """Make a claim look as if it had not been renewed for so long."""
    path = claim.claims.folder / f"{claim.name}.{claim.number}"
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


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
    age(stale, 1000)
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


def test_a_claim_without_a_sign_of_life_expires(tmp_path: Path) -> None:
    claims = Claims(tmp_path, expires=100)
    claim = claims.take("a")
    assert claim
    age(claim, 90)
    assert claims.held("a")
    age(claim, 20)
    assert not claims.held("a")


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
    age(claim, 1000)
    assert claims.take("a")
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


@pytest.mark.skipif(not Path("/proc/self/ns/pid").exists(), reason="processes are told apart on Linux")
def test_a_dead_process_of_this_machine_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from layerprobe.experiments.grid.claims import Claims; "
        "Claims(pathlib.Path(sys.argv[1])).take('a')"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
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
        age(claim, 1000)
    released = claims.take("a.b")
    assert released
    with released.kept():
        assert claims.take("c") and claims.deaths() == {"a.b": 2}
    assert claims.deaths() == {"a.b": 2}
    claims.forget_deaths("a.b")
    assert not claims.deaths() and claims.latest("a.b") == 3 and claims.held("c")


def test_a_claim_that_was_not_written_whole_expires_too(tmp_path: Path) -> None:
    claims = Claims(tmp_path, expires=100)
    (tmp_path / "a.1").touch()
    assert claims.held("a")
    os.utime(tmp_path / "a.1", (1, 1))
    assert not claims.held("a")
