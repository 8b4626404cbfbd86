"""Progress on a terminal: a bar that moves as long as a command works."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from layerprobe.text import printable


class _Count(MofNCompleteColumn):
    """How many of how many units; of work that isn't counted, the seconds since the command began."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.elapsed or 0:.0f} s") if task.total is None else super().render(task)


class _Rate(ProgressColumn):
    """Units per second."""

    def render(self, task: Task) -> Text:
        return Text("" if task.total is None or task.speed is None else f"{task.speed:.1f}/s")


class Bars:
    """The bar of the counted work that a command does now, or of work that isn't counted; a ``progress`` callback."""

    def __init__(self) -> None:
        columns = TextColumn("{task.description}", markup=False), BarColumn(), _Count(), _Rate(), TimeRemainingColumn()
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._uncounted = self._progress.add_task("at work", total=None)
        self._counted: TaskID | None = None
        self._what = ""

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.clear()
        self._progress.stop()

    def __call__(self, what: str, done: int, total: int) -> None:
        """Move the bar of one piece of work, which takes the place of another's."""
        if self._counted is None or what != self._what:
            self.clear()
            self._counted, self._what = self._progress.add_task(printable(what), completed=done, total=total), what
            self._progress.update(self._uncounted, visible=False)
        self._progress.update(self._counted, completed=done, total=total)
        if done >= total:
            self.clear()

    def say(self, message: str) -> None:
        """A line above the bar."""
        self._progress.console.print(message, markup=False, highlight=False, soft_wrap=True)

    def clear(self) -> None:
        """No counted work is being done."""
        if self._counted is not None:
            self._progress.remove_task(self._counted)
            self._counted = None
        self._progress.update(self._uncounted, visible=True)
