"""Figures hold the right values, and are files that a journal takes."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from records import RANKING, geometry, run

from layerprobe.errors import LayerprobeError
from layerprobe.report.figures.comparison import comparison_figure
from layerprobe.report.figures.curves import curves_figure
from layerprobe.report.figures.quality import PANELS, quality_figure
from layerprobe.report.style import save_figure
from layerprobe.types import Layer, Ranking


def test_quality_figure_draws_every_score_and_marks_the_chosen_layers() -> None:
    axes = quality_figure(RANKING).axes
    for axis, score in zip(axes, PANELS, strict=True):
        values = [geometry.statistics[score] for geometry in RANKING.geometries]
        line, marked = axis.lines
        assert np.array_equal(line.get_xdata(), range(5)) and np.array_equal(line.get_ydata(), values, equal_nan=True)
        shown = [x for x, y in zip(marked.get_xdata(), marked.get_ydata(), strict=True) if not math.isnan(y)]
        assert shown == [1, 3]
        assert len(axis.patches) == 2
        (band,) = axis.collections
        corners = band.get_paths()[0].vertices
        interval = RANKING.geometries[1].intervals[score]
        assert {interval.low, interval.high} <= {y for x, y in corners if x == 1}
    assert "60 images (20 per class) of 900" in axes[0].figure.get_suptitle()
    assert "bands: 90 % intervals" in axes[0].figure.get_suptitle()


def test_of_many_layers_some_are_named_and_the_chosen_always() -> None:
    layers = [Layer(index, f"stage.{index}", "block", (4,), 0) for index in range(110)]
    chosen = ("stage.3", "stage.50", "stage.109")
    ranking = Ranking(
        tuple(replace(geometry(RANKING.geometries[1].layer), layer=layer) for layer in layers), "quality", chosen
    )
    labels = [label.get_text() for label in quality_figure(ranking).axes[0].get_xticklabels()]
    assert set(chosen) <= set(labels) and len(labels) <= 40


def test_curves_figure() -> None:
    left, right = curves_figure(run("kd", [40.0, 60.0], holdout=[41.0, 59.0])).axes
    assert [list(line.get_ydata()) for line in left.lines] == [[1.0, 0.5], [2.0, 1.0]]
    assert left.get_yscale() == "log"
    test, holdout, teacher = (list(line.get_ydata()) for line in right.lines)
    assert (test, holdout, teacher) == ([40.0, 60.0], [41.0, 59.0], [83.0, 83.0])
    assert len(curves_figure(run("kd", [40.0])).axes[1].lines) == 2


def test_comparison_figure_has_mean_and_band() -> None:
    axis = comparison_figure([run("a", [10.0, 20.0]), run("a", [14.0, 30.0]), run("b", [5.0, 6.0])]).axes[0]
    first, second, _ = axis.lines
    assert list(first.get_ydata()) == [12.0, 25.0] and list(second.get_ydata()) == [5.0, 6.0]
    band = axis.collections[0].get_paths()[0].vertices[:, 1]
    assert band.min() == pytest.approx(12 - np.std([10, 14], ddof=1))
    assert band.max() == pytest.approx(25 + np.std([20, 30], ddof=1))
    assert len(axis.collections) == 1
    assert [text.get_text() for text in axis.get_legend().get_texts()] == ["a (2 seeds)", "b (1 seed)", "teacher"]


def test_saved_figures_have_text_as_text_and_the_same_bytes_twice(tmp_path: Path) -> None:
    paths = save_figure(quality_figure(RANKING), tmp_path / "a", "f", overwrite=False)
    assert [path.name for path in paths] == ["f.pdf", "f.png"]
    pdf = paths[0].read_bytes()
    assert b"/Type3" not in pdf and b"/FontFile2" in pdf
    again = save_figure(quality_figure(RANKING), tmp_path / "b", "f", overwrite=False)
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]


def test_nothing_is_drawn_over(tmp_path: Path) -> None:
    (tmp_path / "f.png").write_text("mine")
    with pytest.raises(LayerprobeError, match="f.png exists; --overwrite replaces it"):
        save_figure(quality_figure(RANKING), tmp_path, "f", overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == ["f.png"] and (tmp_path / "f.png").read_text() == "mine"
    save_figure(quality_figure(RANKING), tmp_path, "f", overwrite=True)
    assert (tmp_path / "f.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(LayerprobeError, match="is a file; --output names a folder"):
        save_figure(quality_figure(RANKING), tmp_path / "f.png", "f", overwrite=False)
