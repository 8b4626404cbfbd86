"""A folder is written by one process at a time, and a lock ends with its process."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from layerprobe import locks
from layerprobe.locks import HeldError, holding

HOLD = "import os, sys; from pathlib import Path; from layerprobe.locks import holding\n"


def in_another_process(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", HOLD + program, str(folder)], text=True, capture_output=True)


def test_a_folder_is_held_by_one_process(tmp_path: Path) -> None:
    take = "with holding(Path(sys.argv[1])): pass"
    with holding(tmp_path / "run"):
        said = in_another_process(tmp_path / "run", take).stderr
        assert f"{tmp_path / 'run'} is being written by another process; wait for it, or name another --output" in said
        with pytest.raises(HeldError), holding(tmp_path / "run"):
            pass
        assert [path.name for path in (tmp_path / "run").iterdir()] == [locks.FOLDER_LOCK]
    assert list(tmp_path.iterdir()) == []  # what was made for nothing is gone
    tmp_path.joinpath("run").mkdir()
    assert in_another_process(tmp_path / "run", take).returncode == 0 and (tmp_path / "run").is_dir()


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    killed = in_another_process(tmp_path, "with holding(Path(sys.argv[1])): os.kill(os.getpid(), 9)")
    assert killed.returncode == -9 and (tmp_path / locks.FOLDER_LOCK).exists()
    with holding(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_forked_process_does_not_go_on_holding(tmp_path: Path) -> None:
    program = (
        "import time\nwith holding(Path(sys.argv[1])):\n    child = os.fork()\n"
        "    if not child: os.close(1); os.close(2); time.sleep(60)\n"
        "    print(child, flush=True); os.kill(os.getpid(), 9)"
    )
    child = int(in_another_process(tmp_path, program).stdout)
    try:
        with holding(tmp_path):
            os.kill(child, 0)  # it lives still
    finally:
        os.kill(child, 9)


def test_where_there_are_no_locks_nobody_is_kept_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", no_locks)
    with holding(tmp_path), holding(tmp_path):
        pass
