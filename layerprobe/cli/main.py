"""The application: its commands, and the one place that catches an error meant for a person."""

from __future__ import annotations

import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from layerprobe.cli import (
    compare,
    compare_layers,
    demo,
    distill,
    evaluate,
    extract,
    inspect,
    layers,
    rank,
    report,
    train,
    validate,
)
from layerprobe.errors import LayerprobeError
from layerprobe.version import __version__

_UsageError: Any = typer.BadParameter.__bases__[0]
"""Click's, of which newer versions of Typer carry a copy of their own."""


class _Group(TyperGroup):
    """Turns a ``LayerprobeError`` or a wrong option into one line and exit code 2, an interruption into one and 130."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except LayerprobeError as error:
            _fail(str(error))
        except _UsageError as error:
            _fail(_usage_message(error, error.ctx or ctx))
        except (PermissionError, NotADirectoryError, IsADirectoryError, FileExistsError) as error:
            _fail(f"{error}; name a place that can be written to")
        except KeyboardInterrupt:
            print("interrupted; run the same command again (train and distill: with --resume)", file=sys.stderr)
            raise typer.Exit(130) from None


def _usage_message(error: Any, ctx: Any) -> str:
    flag = getattr(error, "option_name", "")
    renamed: str | None = getattr(ctx.command, "renamed", {}).get(flag)
    if renamed:
        return f"{flag} is called {renamed} now; give that"
    return f"{error.format_message().rstrip('.')}; `{ctx.command_path} --help` lists the options"


def _fail(message: str) -> NoReturn:
    print("error:", " ".join(message.split()), file=sys.stderr)
    raise typer.Exit(2) from None


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: it starts in half the time, and reads well in a narrow terminal
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Find the layers of a trained network that are worth learning from, and train a small network from them.",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"layerprobe {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool | None, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = None,
) -> None:
    pass


COMMANDS = (
    layers.COMMAND,
    extract.COMMAND,
    inspect.COMMAND,
    rank.COMMAND,
    compare_layers.COMMAND,
    evaluate.COMMAND,
    compare.COMMAND,
    validate.COMMAND,
    report.COMMAND,
    demo.COMMAND,
)
for command in COMMANDS:
    command.add_to(app)
app.command("distill", epilog=distill.EXAMPLES)(distill.distill)
app.command("train", epilog=train.EXAMPLES)(train.train)


def main() -> None:
    """The console script."""
    app()
