"""What the shell offers on TAB, asked as the shells ask."""

import os
import subprocess
import sys

import pytest

from layerprobe.distill.engine.catalogue import SCHEDULES
from layerprobe.distill.methods.catalogue import METHODS


def completed(words: str, shell: str = "bash") -> list[str]:
    """The lines that the program answers a shell with; the last word is unfinished."""
    environment = {
        **os.environ,
        "_LAYERPROBE_COMPLETE": f"complete_{shell}",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
        "_TYPER_COMPLETE_ARGS": words,
        "_TYPER_COMPLETE_WORD_TO_COMPLETE": words.split(" ")[-1],
        "_TYPER_COMPLETE_FISH_ACTION": "get-args",
    }
    program = "import sys; sys.argv[0] = 'layerprobe'; from layerprobe.cli.main import main; main()"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert result.stderr == ""
    return result.stdout.split("\n")[:-1]


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("layerprobe ex", ["extract"]),
        ("layerprobe rank f.h5 --format ", ["table", "json", "csv", "markdown", "latex"]),
        ("layerprobe extract --tokens c", ["cls"]),
        ("layerprobe extract --device c", ["cpu", "cuda", "cuda:N"]),
        ("layerprobe rank f.h5 --st", ["--style", "--statistics"]),
        ("layerprobe rank f.h5 --no", ["--no-cache"]),
        ("layerprobe distill --method f", ["feature-only", "fitnets", "fitnets-full", "fitnets-ce"]),
        ("layerprobe distill --feature-loss ", ["mse", "huber", "cosine"]),
        ("layerprobe distill --preset paper-2", ["paper-240"]),
        ("layerprobe distill --layers even-in", ["even-information:"]),
        ("layerprobe train --data CIFAR", ["CIFAR10", "CIFAR100"]),
        ("layerprobe rank f.h5 --statistics probe,co", ["probe,collapse"]),
    ],
)
def test_names_complete(words: str, offered: list[str]) -> None:
    assert completed(words) == offered


def test_every_method_completes() -> None:
    assert completed("layerprobe distill --method ") == list(METHODS)


def test_zsh_says_what_each_choice_is() -> None:
    text = "\n".join(completed("layerprobe distill --schedule m", "zsh"))
    assert "multi-step" in text and SCHEDULES["multi-step"].help.split()[0] in text
