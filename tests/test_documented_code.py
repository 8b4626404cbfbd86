"""Every block of code in README and the documentation runs, or is read by what would read it.

Commands go through the real command line up to the settings that they stand for. The tutorial's are run to
their end, and so is all Python, on small stand-ins for the files that it names.
"""

from __future__ import annotations

import functools
import io
import re
import shlex
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from layerprobe.cli.main import COMMANDS, load_command
from layerprobe.cli.options import Given
from layerprobe.experiments.grid.grid_file import parse_grid
from layerprobe.models.zoo import build_model
from tests.helpers.commands import invoke

ROOT = Path(__file__).parents[1]
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "results/*.md", "benchmarks/*.md")
    for path in ROOT.glob(pattern)
)
OTHER_PROGRAMS = {"pip", "git", "cp", "cd", "python", "pytest", "ruff", "mypy", "pre-commit", "mkdocs"}
LANGUAGES = {"bash", "python", "yaml", "math", "text", "bibtex"}
FEWER = {"1000": "40", "2000": "20", "6": "1"}
"""What the tutorial's numbers become in a test."""


def blocks(page: Path, language: str) -> list[str]:
    """The code of a page in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def named(pages: list[Path], language: str) -> list[Any]:
    """The pages with code in a language, for a parametrized test."""
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages if blocks(page, language)]


def commands(code: str) -> Iterator[list[str]]:
    """The words of every command in a block."""
    for line in re.sub(r"\\\n\s*", " ", code).splitlines():
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word not in ("&&", "|"):
                words.append(word)
            elif words:
                yield words
                words = []


def own_words(words: list[str]) -> list[str]:
    """A command of layerprobe from its name on; empty where it is another program's."""
    if words[0] in ("accelerate", "torchrun"):
        return words[words.index("layerprobe") + 1 :]
    return words[1:] if words[0] == "layerprobe" else []


@functools.cache
def parser(name: str) -> Any:
    """A command that reads its options and makes its settings, and does nothing with them."""
    command = load_command(name)

    @functools.wraps(command.run)
    def read(**given: Any) -> None:
        from_file = any(getattr(group, "config", None) for group in given.values())
        for group in given.values():
            if isinstance(group, Given) and not from_file and not group.values.get("resume"):
                group.kind.parse(group.values)

    return replace(command, run=read).parser


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the documentation names: real digits as images, weights, features, arrays and studies."""
    folder = tmp_path_factory.mktemp("documentation")
    digits, labels = load_digits(return_X_y=True)
    for split, numbers in (("train", range(6)), ("test", range(6, 10))):
        for label, name in enumerate(CLASSES):
            (folder / "cifar10" / split / name).mkdir(parents=True)
            for number in numbers:
                pixels = (digits[labels == label][number].reshape(8, 8) * 15.9).astype(np.uint8)
                image = Image.fromarray(pixels).convert("RGB").resize((32, 32))
                image.save(folder / "cifar10" / split / name / f"{number}.png")
    torch.save({"state_dict": build_model("cifar:resnet56", 10, seed=0).state_dict()}, folder / "resnet56.th")
    (folder / "small").mkdir()
    save_file(build_model("timm:resnet18", 0, seed=0).state_dict(), folder / "small" / "student.safetensors")
    np.save(folder / "features.npy", digits.astype(np.float32))
    np.save(folder / "labels.npy", labels)
    for name in ("results", "examples"):
        (folder / name).symlink_to(ROOT / name)
    for code in [code for page in PAGES for code in blocks(page, "python")]:
        if own_file := re.match(r"# (\w+\.py)\n", code):
            with (folder / own_file[1]).open("a", encoding="utf-8") as file:
                file.write(code)
    return folder


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    return folder


def test_code_says_in_which_language_it_is() -> None:
    for page in PAGES:
        found = re.findall(r"^```(.*)\n(?:.*\n)*?```$", page.read_text(encoding="utf-8"), re.MULTILINE)
        assert {*found} <= LANGUAGES, page


@pytest.mark.parametrize("page", named(PAGES, "bash"))
def test_commands_are_read(page: Path, here: Path) -> None:
    for code in blocks(page, "bash"):
        for words in commands(code):
            if own := own_words(words):
                assert own[0] in COMMANDS, own
                parser(own[0]).main(own[1:], standalone_mode=False)
            else:
                assert words[0] in OTHER_PROGRAMS or "=" in words[0] or words[0].startswith("THEIRS"), words
                for word in words[1:2] if words[0] == "python" else ():
                    assert word == "-m" or (ROOT / word).exists(), words


def of_the_tutorial() -> Iterator[list[str]]:
    """The tutorial's own commands, with fewer images and epochs."""
    for code in blocks(ROOT / "docs" / "tutorial.md", "bash"):
        for words in commands(code):
            if own := own_words(words):
                yield [FEWER.get(word, word) for word in own]


def test_the_tutorial_runs(here: Path) -> None:
    (table, *_) = [code for code in blocks(ROOT / "docs" / "tutorial.md", "text") if "in top 4" in code]
    for words in of_the_tutorial():
        shown = invoke(*words).stdout
        if words[0] == "rank" and "--output" in words:
            heading = table.splitlines()[0].split()
            assert heading in [line.split() for line in shown.splitlines()]
    assert (here / "figures" / "r56.quality.png").exists()


def test_files_of_grids_are_read() -> None:
    whole, *_ = blocks(ROOT / "docs" / "how-to" / "paper-table.md", "yaml")
    for page in PAGES:
        for code in blocks(page, "yaml"):
            given = {**yaml.safe_load(whole), **yaml.safe_load(code)}
            given["reference"] = next(iter(given["methods"]))
            if "validate" in given:
                del given["choices"]
            assert parse_grid(yaml.safe_dump(given), page.name).cells


RUN = [page for page in PAGES if "statistics" not in page.parts]


@pytest.mark.parametrize("page", named(RUN, "python"))
def test_python_runs(page: Path, here: Path) -> None:
    names: dict[str, Any] = {}
    python = blocks(page, "python")
    if (
        any("r56.h5" in code for code in python) and not Path("r56.h5").exists()
    ):  # the tutorial may run in another process
        invoke(*next(words for words in of_the_tutorial() if words[0] == "extract"))
    for code in python:
        with redirect_stdout(io.StringIO()) as said:
            exec(code.replace("epochs=5", "epochs=1, train_samples=100, test_samples=50"), names)
        assert said.getvalue().strip() or "print(" not in code
