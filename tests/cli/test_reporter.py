"""What a running command says where there is no terminal."""

import logging

import pytest

from layerprobe.cli import reporter as module
from layerprobe.cli.reporter import Reporter
from layerprobe.settings.display import DisplaySettings


def test_long_work_says_how_far_it_is(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    with Reporter(DisplaySettings()) as reporter:
        for done in range(1, 101):
            clock[0] += 1
            reporter.progress("images", done, 100)
            if done == 45:
                reporter.say("something else")  # the next line of progress is due half a minute later
    assert capsys.readouterr().err.splitlines() == ["images: 30 of 100", "something else", "images: 75 of 100"]


@pytest.mark.parametrize(
    "reporter",
    [
        Reporter(DisplaySettings(quiet=True)),
        Reporter(DisplaySettings(), speaks=False),
        Reporter(DisplaySettings(), usual=logging.WARNING),
    ],
    ids=["quiet", "another process", "dry run"],
)
def test_and_is_quiet_where_it_should_be(
    reporter: Reporter, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SILENCE", 0)
    with reporter:
        reporter.progress("images", 1, 100)
    assert capsys.readouterr().err == ""
