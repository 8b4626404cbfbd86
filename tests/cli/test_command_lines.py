"""Settings as the command that means them, and back."""

import shlex
from pathlib import Path
from typing import Any

import pytest

from layerprobe.cli.main import load_command
from layerprobe.cli.options import Command
from layerprobe.settings.base import Settings
from layerprobe.settings.flags import command_line
from layerprobe.settings.rank import RankSettings

VALUES: dict[str, dict[str, Any]] = {
    "rank": {"features": ["a b.h5", "b.h5"], "output": "out", "sizes": [10, 20], "cache": False, "level": 0.5},
    "extract": {
        "model": {"name": "cifar:resnet20", "weights": "w's.pt"},
        "data": {"name": "digits", "mean": [0.5], "std": [0.25]},
        "output": "f.h5",
        "layers": "layer3.*,-1",
        "samples": "all",
        "stats_only": True,
    },
    "distill": {
        "teacher": {"name": "cifar:resnet56", "weights": "r56.th"},
        "student": "cifar:resnet20",
        "data": {"name": "digits", "data_root": "my data"},
        "output": "run",
        "layers": "even:4",
        "alignment": {"kl": True, "feature_weight": 0.5, "mapping": "layer1.2=layer3.5"},
        "training": {"lr": 1e-4, "schedule": "multi-step", "milestones": [3, 5], "check": False, "train_samples": 20},
    },
    "train": {"model": "cifar:resnet20", "data": "digits", "output": "run", "overwrite": True},
    "validate": {"grid": "g.yaml", "output": "out", "score": ["a.py:f", "b.py:g"], "jobs": 2},
    "evaluate": {"run": "run", "data": {"name": "digits"}, "which": "best", "style": "my.mplstyle"},
}


@pytest.mark.parametrize("name", VALUES)
def test_the_command_that_settings_print_means_these_settings(name: str) -> None:
    kind = next(kind for kind in load_command(name).groups.values() if "output" in kind.model_fields)
    settings = kind.parse(VALUES[name])
    heard: list[Settings] = []

    def hear(settings: Settings) -> None:
        heard.append(settings)

    hear.__annotations__["settings"] = kind
    program, said, *words = shlex.split(command_line(name, settings))
    Command(name, hear).parser(words, standalone_mode=False)
    assert (program, said, heard) == ("layerprobe", name, [settings])


def test_only_what_is_no_default_is_said() -> None:
    line = command_line("rank", RankSettings(features=(Path("a b.h5"),), top=4, by="probe"))
    assert line == "layerprobe rank 'a b.h5' --by probe"
