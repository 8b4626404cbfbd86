"""How ``--help`` looks: a panel for every subject, with its options in two columns of plain text."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand

PANELS = (
    "Arguments", "Model", "Data", "Layers", "Method", "Statistics", "Recipe", "Options", "Figures", "Machine", "Output",
)  # fmt: skip
"""The panels, in the order in which they are shown."""


class PanelCommand(TyperCommand):
    """A command whose help shows its options panel by panel, and its examples as they are written."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write the panels."""
        panels: dict[str, list[tuple[str, str]]] = {panel: [] for panel in PANELS}
        parameters: list[Any] = list(self.get_params(ctx))
        for parameter in parameters:
            panels[getattr(parameter, "rich_help_panel", None) or "Output"].append((_names(parameter), parameter.help))
        for panel, rows in panels.items():
            if rows:
                with formatter.section(panel):
                    formatter.write_dl(rows)

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """Write the examples, line by line, so that they can be pasted."""
        with formatter.section("Examples"):
            for line in str(self.epilog).strip().splitlines():
                formatter.write(f"{'':{formatter.current_indent}}{line}\n")


def _names(parameter: Any) -> str:
    """``-o, --output DIR``, ``--check / --no-check``; of an argument what stands for it."""
    if parameter.param_type_name == "argument":
        return str(parameter.metavar)
    names = ", ".join(sorted(parameter.opts, key=len))
    value = f" {parameter.metavar}" if parameter.metavar else ""
    return " / ".join([names + value, *parameter.secondary_opts])
