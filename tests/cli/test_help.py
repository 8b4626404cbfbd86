"""What ``--help`` says: every option in its panel, with choices, range and default; without importing what is heavy."""

import os
import re
import shlex
import subprocess
import sys
from dataclasses import replace
from inspect import signature
from pathlib import Path
from typing import Any, get_type_hints

import pytest

from layerprobe.cli.help import ARGUMENTS, FIRST, PANELS, by_panel
from layerprobe.cli.main import COMMANDS as NAMES
from layerprobe.cli.main import load_command
from layerprobe.cli.options import Command, Given
from layerprobe.report.figures.style import WIDTHS
from layerprobe.report.tables.table import TABLE_FORMATS
from layerprobe.settings.describe import describe
from tests.cli.test_commands import invoke

COMMANDS = [load_command(name) for name in NAMES]

COMMAND = pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.name)


def shown(command: Command) -> str:
    """The help at 80 columns, with the lines of every entry joined."""
    text = invoke(command.name, "--help").stdout
    assert max(map(len, text.splitlines())) <= 80
    return " ".join(text.split())


@COMMAND
def test_every_option_stands_in_its_panel_with_all_that_is_known_of_it(command: Command) -> None:
    text = shown(command)
    place = 0
    for panel, rows in by_panel(command.rows).items():
        assert panel in PANELS
        place = text.index(f" {panel}: ", place)
        for row in rows:
            entry = " ".join(f"{row.names} {row.text}".split())
            place = text.index(entry.replace("- ", "-"), place) if entry in text else text.index(row.names, place)


@COMMAND
def test_the_options_that_matter_come_first_and_are_few(command: Command) -> None:
    panels = list(by_panel(command.rows))
    assert panels[:2] == [ARGUMENTS, FIRST] if ARGUMENTS in panels else panels[0] == FIRST
    shown = [row.names for row in by_panel(command.rows)[FIRST]]
    assert [re.findall(r"--[a-z-]+", names)[0] for names in shown] == list(command.first)
    assert 0 < len(command.first) <= 10
    required = {row.names for row in command.rows if row.what.required and row.panel != ARGUMENTS}
    assert required <= set(shown)


def test_summaries_are_whole_sentences_on_one_line() -> None:
    """At 80 columns, where a command's name takes up to 16 of them."""
    text = invoke("--help").stdout
    for command in COMMANDS:
        (line,) = (line for line in text.splitlines() if line.startswith(f"  {command.name} "))
        assert line.endswith(".") and len(line) < 80, line


@COMMAND
def test_every_option_has_help_and_a_flag_of_its_own(command: Command) -> None:
    options = [option for _, option in command.options]
    flags = [name for option in options for name in (option.flag, option.extra.short) if name]
    assert len(set(flags)) == len(flags)
    for option in options:
        text = describe(option).text
        assert text.endswith(".") and text[0].isupper(), option.flag


def test_ranges_choices_and_defaults_are_shown() -> None:
    text = shown(next(command for command in COMMANDS if command.name == "rank"))
    for words in (
        "-k, --top INT How many layers to choose. [at least 1; default: 4]",
        "[at least 0, a multiple of 4; default: 200]",
        "--level FLOAT The confidence level of the intervals. [above 0, below 1; default: 0.9]",
        "[table, json, csv, markdown or latex; default: table]",
        "--cache / --no-cache Keep the results beside the feature file, so that the next call is quick. [default: on]",
    ):
        assert words in text


def test_the_first_line_says_what_must_be_given() -> None:
    assert invoke("rank", "--help").stdout.startswith("Usage: root rank FILE... [OPTIONS]\n")
    usage = invoke("extract", "--help").stdout.partition("\n\n")[0].split()
    assert " ".join(usage).endswith("extract --model NAME --data NAME --output FILE [OPTIONS]")


def test_choices_are_those_of_the_code() -> None:
    options = {option.flag: describe(option) for command in COMMANDS for _, option in command.options}
    assert tuple(options["--format"].choices) == tuple(TABLE_FORMATS)
    assert tuple(options["--width"].choices) == tuple(WIDTHS)


def test_examples_can_be_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines that go on end with a backslash; none is broken by the width of the terminal. Every example is parsed."""
    monkeypatch.chdir(tmp_path)
    Path("my_scores.py").write_text("def curvature(gram):\n    return 1.0\n")
    for command in COMMANDS:
        examples = invoke(command.name, "--help").stdout.partition("\nExamples:\n")[2].splitlines()
        begins = [not before.endswith("\\") for before in ("", *examples[:-1])]
        for line, begin in zip(examples, begins, strict=True):
            assert line.startswith(("  layerprobe ", "  accelerate ") if begin else "      "), line
        for example in "\n".join(examples).replace("\\\n", " ").splitlines():
            assert parsed(shlex.split(example.partition(" > ")[0].partition("layerprobe ")[2])), example


def parsed(words: list[str]) -> list[dict[str, Any]]:
    """What a command is told by words, its name first: every group of settings, checked; the work is not done."""
    (command,) = (command for command in COMMANDS if command.name == words[0])
    heard: list[dict[str, Any]] = []

    def hear(**groups: Any) -> None:
        for group in groups.values():
            if isinstance(group, Given):
                group.kind.check_given(group.values)
        heard.append(groups)

    hear.__signature__, hear.__annotations__ = signature(command.run), get_type_hints(command.run)  # type: ignore[attr-defined]
    replace(command, run=hear).parser(words[1:], standalone_mode=False)
    return heard


@pytest.mark.parametrize("complete", [False, True], ids=["help", "completion"])
def test_neither_help_nor_completion_imports_what_is_heavy(complete: bool) -> None:
    """A timed test would say less."""
    code = (
        "import sys\nfrom layerprobe.cli.main import app\n"
        "for command in sys.argv[1:]:\n"
        "    try: app([command, '--help'] if command else ['--help'], prog_name='layerprobe')\n"
        "    except SystemExit: pass\n"
        "heavy = {'torch', 'torchvision', 'timm', 'matplotlib', 'h5py', 'sklearn', 'numpy', 'accelerate', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)\n"
    )
    names = [command.name for command in COMMANDS]
    environment = {**os.environ, "COLUMNS": "80"}
    if complete:
        words = "layerprobe rank f.h5 --format "
        environment |= {"_LAYERPROBE_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": "4"}
    result = subprocess.run(
        [sys.executable, "-c", code, "", *names], capture_output=True, text=True, env=environment, check=True
    )
    assert result.stderr.strip() == "[]"
    assert result.stdout.count("json\n" if complete else "Usage: layerprobe") == len(names) + 1
