"""What a running command says of long work."""

import io
import logging
import sys

import pytest

from layerprobe.cli.bars import Bars
from layerprobe.cli.reporter import Reporter
from layerprobe.runtime import progress
from layerprobe.settings.display import DisplaySettings


@pytest.mark.parametrize("usual", [logging.INFO, logging.WARNING])
def test_long_work_says_how_far_it_is(
    usual: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    with Reporter(DisplaySettings(), usual) as reporter:
        for done in range(1, 101):
            clock[0] += 1
            reporter.progress("images", done, 100)
            if done == 45:
                reporter.say("something else")  # the next line of progress is due 20 s later
    lines = [f"images: {done} of 100 ({done} s)" for done in (20, 40, 65, 85)]
    lines.insert(2, "something else")
    assert capsys.readouterr().err.splitlines() == lines


@pytest.mark.parametrize(
    "reporter",
    [Reporter(DisplaySettings(quiet=True)), Reporter(DisplaySettings(), speaks=False)],
    ids=["quiet", "another process"],
)
def test_and_is_quiet_where_it_should_be(
    reporter: Reporter, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress.ProgressLines, "say_if_due", lambda lines: print("due", file=sys.stderr))
    with reporter:
        reporter.progress("images", 1, 100)
    assert capsys.readouterr().err == ""


class Terminal(io.StringIO):
    """A terminal that keeps what it is sent."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_there_is_a_bar_from_the_first_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    with Bars() as bars:
        assert "at work" in terminal.getvalue()
        bars("layers\x1b[31m", 3, 28)
        bars.say("a line")
        shown = terminal.getvalue()
        assert r"layers\x1b[31m" in shown and " 3/28" in shown and "a line\n" in shown
        before = len(shown)
        bars("layers\x1b[31m", 28, 28)
        bars.say("another line")
        assert "at work" in terminal.getvalue()[before:]
