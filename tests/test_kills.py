"""Commands that are stopped at random moments go on to the same end: a few of the tries of ``benchmarks/kills.py``."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "kills.py"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="commands are forked")
@pytest.mark.parametrize("commands", [("extract", "train", "distill"), ("compare", "rank", "report")], ids=" ".join)
def test_every_command_is_stopped_twice_and_goes_on_to_the_same_end(commands: tuple[str, ...], tmp_path: Path) -> None:
    """Once by SIGKILL, and once by a signal that it hears; every time at other moments."""
    seed = random.SystemRandom().randrange(1000)
    signals = ("SIGKILL", ("SIGINT", "SIGTERM")[seed % 2])
    command = [sys.executable, SCRIPT, "--tries", "1", "--seed", str(seed), "--output", tmp_path / "kills"]
    command += ["--commands", *commands, "--signals", *signals]
    done = subprocess.run(command, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
