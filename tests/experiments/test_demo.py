"""The demo runs the real thing."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from layerprobe.cli.demo import open_page
from layerprobe.errors import LayerprobeError
from layerprobe.experiments import demo
from layerprobe.experiments.demo import run_demo, verdict
from layerprobe.settings.demo import DemoSettings


def test_the_demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "TEACHER", "cifar:resnet20")
    monkeypatch.setattr(demo, "TEACHER_TRAINING", demo.TEACHER_TRAINING.replaced(epochs=1))
    monkeypatch.setattr(demo, "STUDENT_TRAINING", demo.STUDENT_TRAINING.replaced(epochs=1))
    said: list[str] = []
    result = run_demo(DemoSettings(output=tmp_path / "demo", seeds=2), say=said.append)
    assert [run.method for run in result.runs] == ["feature-only"] * 2 + ["scratch"] * 2 + ["kd"] * 2
    assert all(path.is_file() for path in result.files)
    page = result.page.read_text()
    assert verdict(result.runs)[1:] in page and result.ranking.selected[0] in page
    learned = result.runs[0].config["layers"].replace(",", ", ")
    assert f"learned from the teacher&#39;s layers {learned}, which the rule even-information:4 chose" in page
    there = {path for path in (tmp_path / "demo").rglob("*") if path.is_file()}
    assert set(result.files) == {path for path in there if "checkpoints" not in path.parts}
    assert sum(line.startswith("$ layerprobe ") for line in said) == 6
    with pytest.raises(LayerprobeError, match="demo exists and is not empty; --overwrite replaces it"):
        run_demo(DemoSettings(output=tmp_path / "demo"))
    winners = [
        replace(run, epochs=(replace(run.epochs[0], test_accuracy=90.0 if run.method == "kd" else 80.0),))
        for run in result.runs
    ]
    assert "100 images, kd came out ahead of feature-only by 10.00 points" in verdict(winners)


@pytest.mark.parametrize(
    ("screen", "terminal", "opened"), [(True, True, True), (False, True, False), (True, False, False)]
)
def test_its_page_is_opened_where_somebody_sits_at_a_screen(
    screen: bool, terminal: bool, opened: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: shown.append(address) or True)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setenv("DISPLAY", ":0") if screen else monkeypatch.delenv("DISPLAY", raising=False)
    assert open_page(tmp_path / "a page.html") is opened
    assert shown == [(tmp_path / "a page.html").as_uri()] * opened
