"""Values that can not be: refused by the flag's name, in one line, before anything is read, deleted or written."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from layerprobe.cli.main import COMMANDS as NAMES
from layerprobe.cli.main import load_command
from layerprobe.cli.options import Command
from layerprobe.settings.describe import bounds_of, describe
from layerprobe.settings.flags import Option
from tests.cli.test_commands import refused

COMMANDS = [load_command(name) for name in NAMES]

NEEDED = {
    "layers": ("--model", "cifar:resnet20"),
    "extract": ("--model", "cifar:resnet20", "--weights", "random", "--data", "digits"),
    "inspect": ("f.h5",),
    "rank": ("f.h5",),
    "compare-layers": ("f.h5",),
    "distill": (
        "--teacher", "cifar:resnet32", "--teacher-weights", "random", "--student", "cifar:resnet20", "--data", "digits",
        "--layers", "even:2",
    ),
    "train": ("--model", "cifar:resnet20", "--data", "digits"),
    "evaluate": ("run",),
    "compare": ("grid.yaml",),
    "validate": ("grid.yaml",),
    "report": ("grid",),
    "demo": (),
}  # fmt: skip
"""What each command must be told, so that nothing else is amiss."""


def impossible(option: Option) -> Iterator[str]:
    """Values that an option does not take, from its range, its type and its choices."""
    what, bounds = describe(option), bounds_of(option)
    if what.kind in (int, float) or (what.separated and bounds):
        yield "some"
        yield from (str(bounds[name] - 1) for name in ("ge",) if name in bounds)
        yield from (str(bounds[name]) for name in ("gt", "lt") if name in bounds)
        yield from (str(bounds[name] + 1) for name in ("le", "multiple_of") if name in bounds)
    if what.kind is int:
        yield "1.5"
    if what.kind is float:
        yield from ("nan", "inf", "-inf")
    if what.choices and what.kind is str and not (option.extra.also or option.extra.others):
        yield "no-such-thing"


CASES = [
    pytest.param(command, option, value, id=f"{command.name} {option.flag} {value}")
    for command in COMMANDS
    for _, option in command.options
    for value in impossible(option)
]


@pytest.mark.parametrize(("command", "option", "value"), CASES)
def test_impossible_values_are_refused_by_name(
    command: Command, option: Option, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert refused(command.name, *arguments(command, "out"), option.flag, value).startswith(f"error: {option.flag}")
    assert list(tmp_path.iterdir()) == []


def arguments(command: Command, output: str) -> tuple[str, ...]:
    """What a command must be told, with an output and leave to replace it, where it has these."""
    flags = {option.flag for _, option in command.options}
    return (
        *NEEDED[command.name],
        *(("--output", output) if "--output" in flags else ()),
        *(("--overwrite",) if "--overwrite" in flags else ()),
    )


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("train --epochs -1", "--epochs is at least 1, not -1"),
        ("distill --lr nan", "--lr is a finite number, not nan"),
        ("distill --lr inf", "--lr is a finite number, not inf"),
        ("distill --lr 0", "--lr is above 0, not 0"),
        (f"distill --seed {2**70}", f"--seed is below {2**63}, not {2**70}"),
        ("train --holdout 5", "--holdout is below 1, not 5"),
        (f"extract --seed {2**70}", f"--seed is below {2**63}, not {2**70}"),
        ("rank --seed -1", "--seed is at least 0, not -1"),
        ("extract --workers -1", "--workers is at least 0, not -1"),
        ("evaluate --workers -1", "--workers is at least 0, not -1"),
        ("compare --jobs 0", "--jobs is at least 1, not 0"),
        ("compare --jobs 0 --dry-run", "--jobs is at least 1, not 0"),
        ("validate --jobs 0 --dry-run", "--jobs is at least 1, not 0"),
        ("compare --launcher-option timeout", "--launcher-option is KEY=VALUE, such as timeout_min=600; not 'timeout'"),
        ("rank --level 2", "--level is below 1, not 2"),
        ("rank --top 0", "--top is at least 1, not 0"),
        ("rank --sizes 1", "--sizes is at least 2, not 1"),
        ("rank --sizes 10,x", "--sizes is a whole number, not 'x'"),
        ("rank --resamples 3", "--resamples is a multiple of 4, not 3"),
        ("rank --resamples -4", "--resamples is at least 0, not -4"),
        ("extract --memory nan", "--memory is a finite number, not nan"),
        ("extract --memory 0", "--memory is at least 0.001, not 0"),
        ("extract --samples 0", "--samples is at least 1, not 0"),
        ("extract --pool avg:0", "--pool is avg:H or max:H, with H pixels of height and width; not 'avg:0'"),
        ("layers --project 0", "--project is at least 1, not 0"),
        ("extract --device gpu", "--device is one of auto, cpu, cuda, cuda:N, mps; not 'gpu'"),
        ("evaluate --samples 0", "--samples is a number of images from 1, or 'all'; not 0"),
        ("demo --seeds 0", "--seeds is at least 1, not 0"),
        ("report --width poster", "--width is one of 'column', 'page'; not 'poster'"),
        ("inspect --format xml", "--format is one of 'table', 'json', 'csv', 'markdown', 'latex'; not 'xml'"),
    ],
)
def test_what_the_line_says(said: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And that leave to overwrite deletes nothing where a value is refused."""
    monkeypatch.chdir(tmp_path)
    kept = tmp_path / "out" / "config.yaml"
    kept.parent.mkdir()
    kept.write_text("kept")
    name, *given = said.split()
    command = next(one for one in COMMANDS if one.name == name)
    assert refused(name, *arguments(command, "out"), *given) == f"error: {message}\n"
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [kept] and kept.read_text() == "kept"


def test_what_is_missing_is_named() -> None:
    assert refused("rank") == "error: FILE... is missing; give it\n"
    assert refused("extract", "--output", "f.h5") == "error: --model and --data are missing; give them\n"
    assert refused("extract", "--model", "a", "--output", "f.h5") == "error: --data is missing; give it\n"
    assert refused("evaluate", "run", "--data-root", "data") == "error: --data is missing; give it\n"


def test_a_flag_that_is_none_is_named() -> None:
    assert "No such option" in refused("rank", "f.h5", "--tops", "3") and "--top" in refused("rank", "f", "--tops", "3")


def test_a_lack_of_memory_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much(*_: object, **__: object) -> torch.Tensor:
        return torch.empty(2**52, dtype=torch.uint8)

    monkeypatch.setattr("torch.randn", too_much)
    message = refused("layers", "--model", "cifar:resnet20")
    assert message.startswith("error: out of memory: ") and message.count("\n") <= 1
