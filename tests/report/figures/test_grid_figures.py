"""Figures of a grid hold the right values at both widths."""

from dataclasses import replace
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from PIL import Image

from layerprobe.report.figures.cost import cost_figure
from layerprobe.report.figures.grid_bars import grid_bars_figure
from layerprobe.report.figures.learning_curves import learning_curves_figure
from layerprobe.report.figures.looks import look
from layerprobe.report.figures.style import WIDTHS, paper_style, save_figure
from layerprobe.report.figures.validation import RHO, validation_figure
from tests.helpers.grid_records import ACCURACIES, OTHER, PAIR, changed, finished, grid, renamed, validation

GRID = grid()
DRAWN = {"bars": grid_bars_figure, "curves": learning_curves_figure, "cost": cost_figure}


def test_bars_are_means_with_a_deviation_and_every_seed() -> None:
    first, second = grid_bars_figure(GRID).figure.axes
    containers = [one for one in first.containers if hasattr(one, "patches")]
    ends = {one.get_label(): one.patches[0].get_x() + one.patches[0].get_width() for one in containers}
    assert ends == pytest.approx(
        {"feature-only (quality:4)": 82.0, "feature-only (even:4)": 240.5 / 3, "kd": 72.5, "scratch": 61.0}
    )
    dots = [list(line.get_xdata()) for line in first.lines if line.get_marker() == "o"]
    assert dots == [[80.0, 82.0, 84.0], [79.0, 80.5, 81.0], [70.0, 75.0], [60.0, 61.0, 62.0]]
    errors = [one for one in first.containers if not hasattr(one, "patches")]
    (segment,) = errors[0].lines[2][0].get_segments()
    assert [x for x, _ in segment] == [80.0, 84.0]
    assert next(label.get_text() for label in first.get_yticklabels()) == "* feature-only (quality:4)"
    assert [text.get_text() for text in second.texts] == ["50.00", "no run", "55.25", "51.00"]


def test_an_axis_that_does_not_begin_at_zero_says_so() -> None:
    first, _ = grid_bars_figure(GRID).figure.axes
    begin = first.get_xlim()[0]
    assert first.get_xlabel() == f"top-1 (%); the axis begins at {begin:g}" and 0 < begin < 60
    low = changed(GRID, 0, finished("feature-only", 5.0, 0))
    whole, _ = grid_bars_figure(low).figure.axes
    assert whole.get_xlim()[0] == 0 and whole.get_xlabel() == "top-1 (%)"


def test_a_teacher_below_its_students_is_in_the_picture() -> None:
    results = grid()
    for number in range(3):
        results = changed(results, number, finished("feature-only", 80.0, number, teacher=45.0))
    results = replace(results, results=results.results[:3])
    (axis,) = grid_bars_figure(results).figure.axes
    assert axis.get_xlim()[0] < 45 < axis.get_xlim()[1]


def test_bars_data() -> None:
    rows = grid_bars_figure(GRID).data.rows
    assert len(rows) == sum(max(1, sum(one is not None for one in seeds)) for seeds in ACCURACIES.values())
    kd = [(row["seed"], row["top1_of_seed"], row["top1"], row["labels"]) for row in rows if row["method"] == "kd"]
    assert kd[:2] == [(0, 70.0, 72.5, True), (1, 75.0, 72.5, True)]


def test_curves_have_mean_and_band() -> None:
    first, second = learning_curves_figure(GRID).figure.axes
    curves = {line.get_label(): list(line.get_ydata()) for line in first.lines}
    assert curves["kd"] == [(60 + 76) / 2, 72.5] and curves["teacher"] == [90.0, 90.0]
    band = first.collections[0].get_paths()[0].vertices
    assert sorted({y for x, y in band if x == 2}) == pytest.approx([80.0, 84.0])
    assert len(second.lines) == 4  # one method has no run there
    legend = [text.get_text() for text in first.figure.legends[0].get_texts()]
    assert legend == ["feature-only (quality:4)", "feature-only (even:4)", "kd", "scratch", "teacher"]
    rows = learning_curves_figure(GRID).data.rows
    assert len(rows) == 2 * 17 and rows[0]["top1"] == 70.0


def test_seeds_of_other_lengths_count_as_far_as_they_go() -> None:
    longer = finished("feature-only", 80.0, 0)
    longer = replace(longer, epochs=(*longer.epochs, replace(longer.epochs[-1], epoch=3, test_accuracy=81.0)))
    first, _ = learning_curves_figure(changed(GRID, 0, longer)).figure.axes
    assert list(first.lines[0].get_ydata()) == pytest.approx([(70 + 83 + 74) / 3, 82.0, 81.0])


def test_cost_has_a_point_per_method() -> None:
    first, _ = cost_figure(GRID).figure.axes
    points = {one.get_label(): one.lines[0].get_xydata()[0].tolist() for one in first.containers}
    assert points["kd"] == [21.0, 72.5] and points["feature-only (quality:4)"] == [22.0, 82.0]
    across, up = first.containers[0].lines[2]
    assert np.ptp(across.get_segments()[0][:, 0]) == pytest.approx(4.0)
    assert np.ptp(up.get_segments()[0][:, 1]) == pytest.approx(4.0)
    assert first.get_xscale() == "linear"
    row = next(row for row in cost_figure(GRID).data.rows if row["method"] == "kd")
    assert (row["seconds"], row["seconds_n"], row["top1"], row["top1_n"]) == (21.0, 2, 72.5, 2)
    assert len(cost_figure(GRID).data.rows) == 7


def test_costs_far_apart_have_a_logarithmic_axis() -> None:
    slow = finished("feature-only", 80.0, 0)
    slow = replace(slow, wall_seconds=10_000.0)
    first, second = cost_figure(changed(GRID, 0, slow)).figure.axes
    assert (first.get_xscale(), second.get_xscale()) == ("log", "linear")


def test_bars_of_costs_do_not_reach_below_zero() -> None:
    slow = replace(finished("feature-only", 80.0, 0), wall_seconds=160.0)
    first, _ = cost_figure(changed(GRID, 0, slow)).figure.axes
    across = min(bar.lines[2][0].get_segments()[0][:, 0].min() for bar in first.containers)
    assert across < 0 == first.get_xlim()[0]


def test_the_validation_is_a_panel_per_score() -> None:
    quality, logme, bar = validation_figure(validation()).figure.axes
    assert (quality.get_xlabel(), logme.get_xlabel()) == ("quality", "log me (low is better)")
    points = {
        line.get_label(): (*line.get_xydata()[0].tolist(), line.get_marker(), line.get_color())
        for line in quality.lines
        if line.get_marker() != "None"
    }
    colours = matplotlib.colormaps["cividis"]
    assert points == {
        "layer1": (1.0, 61.0, "o", colours(0.0)),
        "layer2": (2.0, 65.0, "o", colours(0.5)),
        "layer1, layer2": (1.5, 70.5, "^", colours(0.25)),
        "layer2, layer3": (2.5, 73.0, "^", colours(0.75)),
    }
    assert quality.get_title("left") == f"● {RHO} 0.50 [0.20, 0.60]\n▲ {RHO} -"
    assert len([line for line in logme.lines if line.get_marker() != "None"]) == 3  # one score is NaN
    assert "relative depth" in bar.get_xlabel()
    rows = validation_figure(validation()).data.rows
    assert len(rows) == 10 and rows[0]["top1_std"] == pytest.approx(np.std([60, 62], ddof=1))


@pytest.mark.parametrize("width", list(WIDTHS.values()), ids=list(WIDTHS))
@pytest.mark.parametrize("name", [*DRAWN, "validation"])
def test_they_are_drawn_at_every_width(name: str, width: float, tmp_path: Path) -> None:
    draw = (
        (lambda: validation_figure(validation(), width)) if name == "validation" else lambda: DRAWN[name](GRID, width)
    )
    paths = save_figure(draw, tmp_path, name, overwrite=False)
    with Image.open(paths[2]) as image:
        assert image.width == round(300 * width)


@pytest.mark.parametrize("name", list(DRAWN))
def test_labels_are_no_formulas(name: str, tmp_path: Path) -> None:
    results = renamed(renamed(GRID, "kd", "_cost $\\frac{$"), "scratch", "<b>&amp;")
    with paper_style():
        figure = DRAWN[name](results).figure
        figure.savefig(tmp_path / "figure.svg")
    assert "_cost $\\frac{$" in (tmp_path / "figure.svg").read_text()
    assert not [text for text in figure.findobj(matplotlib.text.Text) if text.get_text() == "<b>&amp;amp;"]


def test_forty_nine_looks_are_apart() -> None:
    looks = [look(number) for number in range(49)]
    assert len({(one.colour, one.marker) for one in looks}) == 49
    assert len({(str(one.line), one.marker) for one in looks}) == 49  # in grey
    assert len({(one.marker, one.hollow) for one in looks[:14]}) == 14  # points in grey


def test_pairs_are_named_where_there_are_several() -> None:
    two = validation()
    both = replace(two, candidates=(*two.candidates, *(replace(one, pair=OTHER) for one in two.candidates)))
    titles = [axis.get_title("left").splitlines()[0] for axis in validation_figure(both).figure.axes[:4]]
    assert titles == [PAIR, PAIR, OTHER, OTHER]
