"""The benchmark for a GPU runs from end to end on the CPU, so that nothing of it fails when a card is at hand."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.py"


@pytest.mark.slow
def test_the_rehearsal_fills_every_row_of_the_table(tmp_path: Path) -> None:
    command = [sys.executable, SCRIPT, "--rehearse", "--folder", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    table = [line for line in done.stdout.split("torch")[-1].splitlines() if line.startswith("| ")][1:]
    begun = ("extract, cifar", "extract, peak", "rank, 29 layers, no", "rank, 29 layers, 200", "rank, peak")
    begun += ("step of feature-only", "distill, cifar", "distill, peak", "tests marked gpu")
    assert len(table) == len(begun), done.stdout
    for line, beginning in zip(table, begun, strict=True):
        assert line.startswith(f"| {beginning}"), done.stdout
        assert "exit code" not in line and "stopped after" not in line
