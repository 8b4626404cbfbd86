"""The tables of options in the documentation, written from the settings: ``python -m layerprobe.cli.document``."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from layerprobe.cli.help import Row, by_panel
from layerprobe.cli.main import COMMANDS, load_command
from layerprobe.cli.options import Command
from layerprobe.files import write_text

PAGE = Path("docs/commands.md")
_END = "<!-- end of the options -->"


def documented(text: str) -> str:
    """A page with the table of every command written anew between its two marks.

    Raises:
        ValueError: if a command has no marks on the page.
    """
    for command in map(load_command, COMMANDS):
        begin = f"<!-- options of {command.name}: `python -m layerprobe.cli.document` writes them -->"
        place = re.compile(re.escape(begin) + ".*?" + re.escape(_END), re.DOTALL)
        if not place.search(text):
            raise ValueError(f"the page has no marks {begin} and {_END}")
        table = "\n".join((begin, "", *_table(command), "", _END))
        text = place.sub(lambda _, table=table: table, text)  # type: ignore[misc]
    return text


def _table(command: Command) -> Iterator[str]:
    yield "| option | says | values | default |"
    yield "|---|---|---|---|"
    for panel, rows in by_panel(command.rows).items():
        yield f"| **{panel}** | | | |"
        yield from map(_line, rows)


def _line(row: Row) -> str:
    what = row.what
    listed = ", ".join(f"`{name}`" for name in what.choices)
    others = f" or `{what.others}`" if what.others else ""
    values = listed + others if listed else what.range
    default = "required" if what.required else what.default
    return "| " + " | ".join(_cell(text) for text in (f"`{row.names}`", what.text, values, default)) + " |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    page = Path(sys.argv[1]) if sys.argv[1:] else PAGE
    write_text(page, documented(page.read_text(encoding="utf-8")))
