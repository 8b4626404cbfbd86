"""What ``--help`` says: every option in its panel, with choices, range and default; without importing what is heavy."""

import os
import subprocess
import sys

import pytest

from layerprobe.cli.help import PANELS, by_panel
from layerprobe.cli.main import COMMANDS as NAMES
from layerprobe.cli.main import load_command
from layerprobe.cli.options import Command
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
def test_every_option_has_help_and_a_flag_of_its_own(command: Command) -> None:
    options = [option for _, option in command.options]
    flags = [name for option in options for name in (option.flag, option.extra.short) if name]
    assert len(set(flags)) == len(flags)
    for option in options:
        assert describe(option).text.endswith("."), option.flag


def test_ranges_choices_and_defaults_are_shown() -> None:
    text = shown(next(command for command in COMMANDS if command.name == "rank"))
    for words in (
        "-k, --top INT How many layers to choose. [at least 1; default: 4]",
        "[at least 0, a multiple of 4; default: 200]",
        "--level FLOAT Confidence level of the intervals. [above 0, below 1; default: 0.9]",
        "[table, json, csv, markdown or latex; default: table]",
        "--cache / --no-cache Keep results beside the features for the next time. [default: on]",
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


def test_examples_can_be_pasted() -> None:
    """Lines that go on end with a backslash; none is broken by the width of the terminal."""
    for command in COMMANDS:
        examples = invoke(command.name, "--help").stdout.partition("\nExamples:\n")[2].splitlines()
        begins = [not before.endswith("\\") for before in ("", *examples[:-1])]
        for line, begin in zip(examples, begins, strict=True):
            assert line.startswith(("  layerprobe ", "  accelerate ") if begin else "      "), line


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
