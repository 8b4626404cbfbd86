"""Mutated files are read, or refused in one line: a few of the tries of ``benchmarks/fuzzing.py``."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "fuzzing.py"


@pytest.mark.skipif(sys.platform == "win32", reason="mutations are read in forked processes")
def test_mutated_files_of_every_kind() -> None:
    """Every time others, whose seeds the script prints."""
    seed = random.SystemRandom().randrange(10**6)
    command = [sys.executable, SCRIPT, "--count", "6", "--seed", str(seed)]
    done = subprocess.run(command, capture_output=True, text=True)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
