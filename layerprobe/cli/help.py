"""How ``--help`` looks: a panel for every subject, with its options in two columns of plain text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from typer.core import TyperCommand

from layerprobe.settings.describe import Description, describe
from layerprobe.settings.flags import Option

ARGUMENTS = "Arguments"
FIRST = "Main options"
"""The panel of the options that most people need, which each command names."""
PANELS = (
    ARGUMENTS, FIRST, "Model", "Data", "Layers", "Method", "Evaluation", "Statistics", "Recipe", "Options", "Figures",
    "Machine", "Output",
)  # fmt: skip
"""The panels, in the order in which they are shown."""


@dataclass(frozen=True)
class Row:
    """An option, as help and documentation show it.

    Attributes:
        panel: one of ``PANELS``.
        names: such as ``-o, --output DIR``.
        what: everything that is known of it.
        place: in its panel, before those of a higher number.
    """

    panel: str
    names: str
    what: Description
    place: int = 0

    @property
    def text(self) -> str:
        """What it does, and after it the choices or the range, and the default."""
        return f"{self.what.text}  [{self.what.facts}]" if self.what.facts else self.what.text


def row_of(option: Option, first: Sequence[str] = ()) -> Row:
    """The row of one option.

    Args:
        option: the option.
        first: the flags of the panel ``FIRST``.
    """
    what = describe(option)
    panel = ARGUMENTS if option.extra.argument else FIRST if option.flag in first else option.panel
    names = ", ".join(filter(None, (option.extra.short, option.flag)))
    if what.kind is bool:
        names += "" if option.extra.alone else f" / {option.opposite}"
    elif not option.extra.argument:
        names += f" {what.metavar}"
    return Row(panel, names, what, first.index(option.flag) if option.flag in first else 0)


def by_panel(rows: Iterable[Row]) -> Mapping[str, list[Row]]:
    """The rows of a command's options by their panels, in order; panels without options are left out."""
    panels: dict[str, list[Row]] = {panel: [] for panel in PANELS}
    for row in rows:
        panels[row.panel].append(row)
    return {panel: sorted(rows, key=lambda row: row.place) for panel, rows in panels.items() if rows}


def usage_of(rows: Sequence[Row]) -> list[str]:
    """The arguments, the options that must be given, and ``[OPTIONS]``."""
    arguments = [row.names if row.what.required else f"[{row.names}]" for row in rows if row.panel == ARGUMENTS]
    required = [row.names.split(", ")[-1] for row in rows if row.what.required and row.panel != ARGUMENTS]
    return [*arguments, *required, "[OPTIONS]"]


class PanelCommand(TyperCommand):
    """A command whose help shows its options panel by panel, and its examples as they are written."""

    rows: ClassVar[tuple[Row, ...]] = ()
    renamed: ClassVar[Mapping[str, str]] = {}

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """What stands behind the command's name in the first line."""
        return usage_of(self.rows)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the panels."""
        panels = {panel: [(row.names, row.text) for row in rows] for panel, rows in by_panel(self.rows).items()}
        panels.setdefault("Output", []).append(("-h, --help", "Show this message and exit."))
        for panel, rows in panels.items():
            with formatter.section(panel):
                formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples, line by line, so that they can be pasted."""
        with formatter.section("Examples"):
            for line in str(self.epilog).strip().splitlines():
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")
