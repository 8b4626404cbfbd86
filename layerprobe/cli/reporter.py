"""Messages, progress bars and epoch lines on stderr; results on stdout."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

from layerprobe.errors import LayerprobeError, of_system
from layerprobe.runtime.progress import ProgressLines
from layerprobe.settings.display import ColumnSettings, DisplaySettings, TableSettings
from layerprobe.text import printable, printable_lines

if TYPE_CHECKING:
    from layerprobe.cli.bars import Bars
    from layerprobe.records import EpochMetrics
    from layerprobe.report.tables.table import Table


class Reporter:
    """What a running command tells the person in front of it.

    On a terminal, long work shows a bar with rate and time left; elsewhere there are plain lines, at least one every
    half minute. Library messages arrive through ``logging``.

    Args:
        display: how much the user wants to hear, and the format of tables.
        usual: the least level of library messages where the user asks for neither less nor more.
        speaks: whether this process speaks for the others that were started with it; else it is quiet.
    """

    def __init__(self, display: DisplaySettings, usual: int = logging.INFO, speaks: bool = True) -> None:
        self._quiet = display.quiet or not speaks
        self._level = logging.WARNING if self._quiet else logging.DEBUG if display.verbose else usual
        self._format = display.format if isinstance(display, TableSettings) else "table"
        self._can_choose = isinstance(display, ColumnSettings)
        self._columns = display.columns if isinstance(display, ColumnSettings) else ()
        self._bars: Bars | None = None
        self._lines: ProgressLines | None = None
        self._stack = ExitStack()
        self._handler = _Handler(self)
        self._level_before = logging.NOTSET
        self._show_before = warnings.showwarning

    def __enter__(self) -> Reporter:
        logger = logging.getLogger("layerprobe")
        self._level_before = logger.level
        logger.setLevel(self._level)
        logger.addHandler(self._handler)
        self._show_before, warnings.showwarning = warnings.showwarning, _log_warning  # type: ignore[assignment]
        if not self._quiet and sys.stderr.isatty():
            from layerprobe.cli.bars import Bars

            self._bars = self._stack.enter_context(Bars())
        elif not self._quiet:
            self._lines = self._stack.enter_context(ProgressLines(write_message))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logger = logging.getLogger("layerprobe")
        logger.removeHandler(self._handler)
        logger.setLevel(self._level_before)
        warnings.showwarning = self._show_before
        self._stack.__exit__(kind, error, trace)

    def say(self, message: str) -> None:
        """One line on stderr, above the bars if there are any."""
        self._write(printable(message))

    def _write(self, message: str) -> None:
        if self._bars:
            self._bars.say(message)
        else:
            write_message(message)
        if self._lines:
            self._lines.restart()

    def progress(self, what: str, done: int, total: int) -> None:
        """Move the bar of one piece of work; where there are no bars, say how far it is if all was quiet for long."""
        if self._bars:
            self._bars(what, done, total)
        elif self._lines:
            self._lines(printable(what), done, total)

    def epoch(self, metrics: EpochMetrics, epochs: int) -> None:
        """One line per epoch."""
        if self._quiet:
            return
        losses = "  ".join(f"{name} {value:.4f}" for name, value in metrics.losses.items())
        held_out = [f"held-out {name} {value:.4f}" for name, value in metrics.holdout_losses.items()]
        if metrics.holdout_accuracy is not None:
            held_out.append(f"held-out {metrics.holdout_accuracy:.2f} %")
        tested = [] if metrics.test_accuracy is None else [f"test top-1 {metrics.test_accuracy:.2f} %"]
        numbers = "  ".join([losses, *held_out, *tested, f"{metrics.seconds:.1f} s"])
        self.say(f"epoch {metrics.epoch:>{len(str(epochs))}}/{epochs}  {numbers}")

    def choose(self, table: Table) -> Table:
        """A table with the columns that the user asked for.

        Raises:
            LayerprobeError: if it has no such column.
        """
        from layerprobe.report.tables.choice import choose_columns

        return choose_columns(table, self._columns)

    def show(self, table: Table | Sequence[Table]) -> None:
        """The result, on stdout."""
        from layerprobe.report.tables.choice import choose_among
        from layerprobe.report.tables.latex import lay_out
        from layerprobe.report.tables.table import Table, render_all

        if self._bars:
            self._bars.clear()
        tables = choose_among([table] if isinstance(table, Table) else table, self._columns)
        _write_results(render_all(tables, self._format, colour=sys.stdout.isatty()).rstrip("\n") + "\n")
        if self._format == "latex" and not self._quiet:
            choose = "; --columns chooses among its columns" if self._can_choose else ""
            for remark in dict.fromkeys(filter(None, (lay_out(one).remark for one in tables))):
                self.say(f"{remark}{choose}")

    def hint(self, message: str) -> None:
        """What the user can do now, in one or several lines, unless the user asked for quiet."""
        if not self._quiet:
            self._write(printable_lines(message))

    def wrote(self, paths: Iterable[Path], following: str | None = None) -> None:
        """Name the files that were written, and the next command."""
        if self._quiet:
            return
        folders: dict[Path, dict[str, list[str]]] = {}
        for path in paths:
            folders.setdefault(path.parent, {}).setdefault(path.stem, []).append(path.suffix[1:])
        for folder, stems in folders.items():
            names = [_braced(stem, endings) for stem, endings in stems.items()]
            self.say(f"wrote {folder / names[0]}" if len(names) == 1 else f"wrote {folder}/: {', '.join(names)}")
        if following:
            self.say(f"next: {following}")


def _log_warning(message: Warning | str, category: type[Warning], *where: Any) -> None:
    """Say a warning of Python's in one line, as the library's own: its text may come from a file."""
    lines = str(message).splitlines() or [""]
    logging.getLogger("layerprobe").warning("%s: %s", category.__name__, lines[0])


def write_message(message: str) -> None:
    """A line on stderr; where it can't be written, nobody is left to be told."""
    try:
        print(message, file=sys.stderr, flush=True)
    except OSError:
        close_stream(sys.stderr)


def _write_results(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:  # whoever reads them wants no more
        raise
    except OSError as error:
        close_stream(sys.stdout)
        raise LayerprobeError(f"can't write the results to stdout: {of_system(error)}; send them elsewhere") from None


def close_stream(stream: TextIO) -> None:
    """Send what a stream still holds nowhere: Python writes it when the program ends, and would fail again."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _braced(stem: str, endings: list[str]) -> str:
    """Files that differ in their ending alone, as a shell writes them: ``curves.{pdf,png}``."""
    return f"{stem}.{endings[0]}" if len(endings) == 1 else f"{stem}.{{{','.join(endings)}}}"


class _Handler(logging.Handler):
    """Says what the library logs; a warning, and what is logged with ``extra={"once": True}``, only once."""

    def __init__(self, reporter: Reporter) -> None:
        super().__init__()
        self._reporter = reporter
        self._said: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        prefix = f"{record.levelname.lower()}: " if record.levelno >= logging.WARNING else ""
        message = prefix + record.getMessage()
        once = record.levelno >= logging.WARNING or getattr(record, "once", False)
        if not once or message not in self._said:
            self._reporter.say(message)
        if once:
            self._said.add(message)
