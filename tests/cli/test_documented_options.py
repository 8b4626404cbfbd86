"""The documentation's tables of options are those of the settings, and its commands have flags that exist."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from layerprobe.cli.document import PAGE, documented
from layerprobe.cli.main import COMMANDS as NAMES
from layerprobe.cli.main import load_command

COMMANDS = [load_command(name) for name in NAMES]

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md", "examples/*.py", "benchmarks/*.py")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"
)


def test_the_page_is_what_the_command_writes() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    assert documented(text) == text, "python -m layerprobe.cli.document writes the tables anew"


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="has no marks <!-- options of layers"):
        documented("# Commands\n")


def commands_in(text: str) -> Iterator[list[str]]:
    """The words of every command of layerprobe that stands on lines of its own, or between backquotes."""
    joined = re.sub(r"\\+\n\s*", " ", text)
    for line in [*joined.splitlines(), *re.findall(r"`([^`\n]+)`", joined)]:
        found = re.search(r"(?:^\s*|-m |\| )layerprobe ([a-z-]+)( .*|$)", line.strip().strip("`"))
        if found:
            words = re.sub(r"[`|#>].*", "", found[2])
            yield [found[1], *shlex.split(words.replace("'", ""))]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_of_the_documentation_have_flags_that_exist(path: Path) -> None:
    flags = {
        command.name: {name for _, option in command.options for name in (option.flag, option.opposite)}
        for command in COMMANDS
    }
    for name, *words in commands_in(path.read_text(encoding="utf-8")):
        if name in flags:
            unknown = [word for word in words if re.match(r"--[a-z]", word) and word not in flags[name]]
            assert not unknown, f"layerprobe {name} has no {', '.join(unknown)}"


def test_the_commands_are_found() -> None:
    found = [name for path in PAGES for name, *_ in commands_in(path.read_text(encoding="utf-8"))]
    assert {command.name for command in COMMANDS} <= set(found)
