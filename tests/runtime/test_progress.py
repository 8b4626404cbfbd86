"""Lines that say how far long work is."""

import threading

import pytest

from layerprobe import ProgressLines
from layerprobe.runtime import progress as module


def test_a_line_is_due_within_half_a_minute_of_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: clock[0])
    said: list[str] = []
    progress = ProgressLines(said.append)
    for done in range(1, 101):
        clock[0] += 1
        progress("images", 20 * done, 2000)
        if done == 45:
            progress.restart()  # something else was said
    assert said == [
        "images: 400 of 2,000 (20 s)",
        "images: 800 of 2,000 (40 s)",
        "images: 1,300 of 2,000 (65 s)",
        "images: 1,700 of 2,000 (85 s)",
    ]


def test_work_that_does_not_call_is_spoken_of_too() -> None:
    spoken = threading.Event()
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        spoken.set()

    with ProgressLines(say, silence=0.01) as progress:
        assert spoken.wait(10) and said[0] == "at work (0 s)"
        progress("layers", 3, 28)
        spoken.clear()
        assert spoken.wait(10) and spoken.clear() is None and spoken.wait(10)
    assert said[-1] == "layers: 3 of 28 (0 s)"
    assert not [thread for thread in threading.enumerate() if thread.name == "progress lines"]


def test_lines_go_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    ProgressLines(silence=0)("images", 1, 100)
    assert capsys.readouterr().err == "images: 1 of 100 (0 s)\n"
