"""The application: its commands, and the one place that catches an error meant for a person."""

from __future__ import annotations

import sys
from importlib import import_module
from io import TextIOWrapper
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from layerprobe.cli.options import GOES_ON, Command
from layerprobe.cli.reporter import close_stream, write_message
from layerprobe.errors import LayerprobeError, is_out_of_memory, line_of_system, of_system
from layerprobe.plugins import ends_program
from layerprobe.runtime.interruption import exit_code, interruptible
from layerprobe.text import printable
from layerprobe.version import __version__

COMMANDS = (
    "layers", "extract", "inspect", "rank", "compare-layers", "distill", "train", "evaluate", "compare", "validate",
    "report", "demo",
)  # fmt: skip
"""The names of the commands. Each is ``COMMAND`` in a module of its own, which is imported when it is needed."""

_UsageError: Any = typer.BadParameter.__bases__[0]
"""Click's, of which newer versions of Typer carry a copy of their own."""


def load_command(name: str) -> Command:
    """A command by its name, a word of ``COMMANDS``."""
    command: Command = import_module(f"layerprobe.cli.{name.replace('-', '_')}").COMMAND
    return command


class _Group(TyperGroup):
    """Imports a command when it is asked for.

    Turns a ``LayerprobeError`` or a wrong option into one line and exit code 2, an interruption into one and 130 or,
    after SIGTERM, 143.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Any = dict.fromkeys(COMMANDS)  # the names that are close to one that is none

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return load_command(cmd_name).parser if cmd_name in COMMANDS else None

    def make_context(self, *args: Any, **extra: Any) -> Any:
        try:
            return super().make_context(*args, **extra)
        except KeyboardInterrupt as interruption:
            _interrupt(interruption, GOES_ON)

    def invoke(self, ctx: Any) -> Any:
        try:
            with interruptible():
                return super().invoke(ctx)
        except LayerprobeError as error:
            _fail(str(error))
        except _UsageError as error:
            _fail(_usage_message(error, error.ctx or ctx))
        except BrokenPipeError:  # whoever reads the results wants no more
            raise
        except OSError as error:
            _fail(line_of_system(error))
        except KeyboardInterrupt as interruption:
            name = ctx.invoked_subcommand
            _interrupt(interruption, load_command(name).interrupted if name in COMMANDS else GOES_ON)
        except BaseException as error:
            if is_out_of_memory(error):
                _fail(f"out of memory: {error}; take smaller batches or images, fewer images, or another machine")
            if isinstance(error, Exception):
                raise
            _fail(ends_program(error))


def _usage_message(error: Any, ctx: Any) -> str:
    flag = getattr(error, "option_name", "")
    renamed: str | None = getattr(ctx.command, "renamed", {}).get(flag)
    if renamed:
        return f"{flag} is called {renamed} now; give that"
    return f"{error.format_message().rstrip('.')}; `{ctx.command_path} --help` lists the options"


def _interrupt(interruption: KeyboardInterrupt, how_to_go_on: str) -> NoReturn:
    write_message(f"interrupted; {how_to_go_on}")
    raise typer.Exit(exit_code(interruption)) from None


def _fail(message: str) -> NoReturn:
    write_message(f"error: {printable(' '.join(message.split()))}")
    raise typer.Exit(2) from None


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: it starts in half the time, and reads well in a narrow terminal
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    help="""Find the layers of a trained network that are worth learning from, and train a small network from them.

    `layerprobe demo` shows all of it. With your own network, go from `extract` over `rank` to `distill`; every command
    has examples at the end of its help, such as `layerprobe rank --help`.
    """,
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


def main() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal's encoding may lack what a name has
    try:
        app()
    except OSError as error:  # of help and the version, which are written before there is a command
        write_message(f"error: can't write to stdout: {of_system(error)}; send it elsewhere")
        close_stream(sys.stdout)
        sys.exit(2)
