"""Figures fit their paper: at both widths everything is inside, in letters of a size that one can read."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise

import matplotlib
import pytest
import torch
from matplotlib.text import Text

from layerprobe.records import Evaluation, Layer, Ranking
from layerprobe.report.figures.catalogue import FIGURES
from layerprobe.report.figures.confusion import confusion_figure
from layerprobe.report.figures.cost import cost_figure
from layerprobe.report.figures.curves import curves_figure
from layerprobe.report.figures.grid_bars import grid_bars_figure
from layerprobe.report.figures.labels import ELLIPSIS, fitted, text_width
from layerprobe.report.figures.layer_axis import push_apart
from layerprobe.report.figures.learning_curves import learning_curves_figure
from layerprobe.report.figures.looks import CLASS_COLOURS, COLOURS, look, method_looks, statistic_look
from layerprobe.report.figures.quality import quality_figure
from layerprobe.report.figures.relative_depth import relative_depth_figure
from layerprobe.report.figures.similarity import similarity_figure
from layerprobe.report.figures.style import WIDTHS, Drawing, paper_style, write_caption
from layerprobe.report.figures.validation import validation_figure
from tests.helpers.grid_records import grid, validation
from tests.helpers.records import RANKING, measured_ranking, run

LONG = "_" + "encoder.".join(f"stage_{number}$" for number in range(12))
"""A name of 160 letters, with signs that matplotlib might act on."""


def of_long_names() -> Ranking:
    """A measured ranking of layers, classes and a network with long names."""
    ranking = measured_ranking()
    names = {one.layer.name: f"{LONG}.{one.layer.name}" for one in ranking.geometries}
    layers = tuple(replace(one.layer, name=names[one.layer.name]) for one in ranking.geometries)
    assert ranking.similarity
    return replace(
        ranking,
        geometries=tuple(replace(one, layer=layer) for one, layer in zip(ranking.geometries, layers, strict=True)),
        selected=tuple(map(names.__getitem__, ranking.selected)),
        evenly_spread=tuple(map(names.__getitem__, ranking.evenly_spread)),
        classes=tuple(f"{LONG} {name}" for name in ranking.classes),
        provenance=ranking.provenance | {"model": LONG},
        similarity=replace(ranking.similarity, first=layers, second=layers, names=(LONG, LONG)),
    )


def drawings(long: bool) -> dict[str, Callable[[float], Drawing]]:
    ranking = of_long_names() if long else measured_ranking()
    prefix = f"{LONG} " if long else ""
    results = grid()
    results = replace(
        results,
        reference=prefix + results.reference,
        results=tuple(
            replace(one, cell=replace(one.cell, pair=prefix + one.cell.pair, method=prefix + one.cell.method))
            for one in results.results
        ),
    )
    checked = validation()
    checked = replace(
        checked,
        candidates=tuple(replace(one, pair=prefix + one.pair) for one in checked.candidates),
        correlations=(),
    )
    one_run = run(prefix + "kd")
    one_run = replace(
        one_run,
        epochs=tuple(
            replace(one, losses={prefix + name: loss for name, loss in one.losses.items()}) for one in one_run.epochs
        ),
    )
    evaluation = Evaluation("run", "photos", "test", ranking.classes, torch.eye(3, dtype=torch.int64), None)
    assert ranking.similarity
    return {
        **{name: partial(figure.load(), ranking) for name, figure in FIGURES.items()},
        "relative depth": partial(relative_depth_figure, [ranking, ranking]),
        "similarity": partial(similarity_figure, ranking.similarity),
        "bars": partial(grid_bars_figure, results),
        "curves": partial(learning_curves_figure, results),
        "cost": partial(cost_figure, results),
        "validation": partial(validation_figure, checked),
        "run": partial(curves_figure, one_run),
        "confusion": partial(confusion_figure, evaluation),
    }


DRAWN = drawings(long=False)


@pytest.mark.parametrize("width", list(WIDTHS.values()), ids=list(WIDTHS))
@pytest.mark.parametrize("name", DRAWN)
def test_long_names_are_inside_the_paper_and_legible(name: str, width: float) -> None:
    with paper_style():
        drawing = drawings(long=True)[name](width)
        assert drawing.caption.endswith(".")
        write_caption(drawing)
        figure = drawing.figure
        figure.draw_without_rendering()
        width, height = figure.get_size_inches()
        drawn = figure.get_tightbbox()  # of everything that is drawn, ticks beyond the limits and what is clipped aside
        assert drawn.x0 > -0.01 and drawn.x1 < width + 0.01, "cut at a side"
        assert drawn.y0 > -0.01 and drawn.y1 < height + 0.01, "cut above or below"
        assert all(float(text.get_fontsize()) >= 6 for text in figure.findobj(Text) if text.get_text())
        boxes = [axis.get_window_extent() for axis in figure.axes]
        first, *others = boxes
        assert first.width > 40 and first.height > 40, "a panel has no room left"
        assert all(max(box.width, box.height) > 40 for box in others), "a panel has no room left"
        for legend in figure.legends:
            area = legend.get_window_extent()
            assert not any(area.overlaps(box) for box in boxes), "the legend lies over data"
            assert len(legend.get_texts()) == len(legend.legend_handles)


@pytest.mark.parametrize("name", [name for name in DRAWN if name not in ("plane", "confusion")])
def test_every_axis_has_a_label(name: str) -> None:
    with paper_style():
        figure = DRAWN[name](WIDTHS["page"]).figure
        rows = {round(axis.get_position().y0, 2): [] for axis in figure.axes}
        for axis in figure.axes:
            rows[round(axis.get_position().y0, 2)].append(axis)
        for row in rows.values():
            named_bars = [label for label in row[0].get_yticklabels() if len(label.get_text()) > 1]
            assert row[0].get_ylabel() or row[0].get_xlabel() or named_bars


def test_a_tick_is_a_layers_full_name_or_its_number() -> None:
    short = tuple(Layer(index, f"blocks.{index}.mlp.activation", "activation", (1,), 0) for index in range(5))
    long = tuple(replace(layer, name=f"{LONG}.{layer.name}") for layer in short)
    for layers, shown in ((short, [layer.name for layer in short]), (long, ["0", "1", "2", "3", "4"])):
        geometries = tuple(replace(one, layer=layer) for one, layer in zip(RANKING.geometries, layers, strict=True))
        ranking = replace(RANKING, geometries=geometries, selected=(layers[1].name,), evenly_spread=())
        axis = quality_figure(ranking).figure.axes[0]
        labels = axis.get_xticklabels()
        assert [label.get_text() for label in labels] == shown
        assert [label.get_fontweight() for label in labels] == ["normal", "bold", "normal", "normal", "normal"]
        assert axis.get_xlabel() == ("layer" if layers is short else "layer index")


def test_names_of_neighbours_do_not_cover_each_other() -> None:
    layers = [Layer(index, f"stage.{index}", "block", (4,), 0) for index in range(110)]
    chosen = tuple(f"stage.{index}" for index in (50, 51, 52, 53))
    geometries = tuple(replace(RANKING.geometries[1], layer=layer) for layer in layers)
    with paper_style():
        axis = quality_figure(Ranking(geometries, "quality", chosen)).figure.axes[0]
        axis.figure.draw_without_rendering()
        boxes = [label.get_window_extent() for label in axis.get_xticklabels() if label.get_text()]
        assert all(one.x1 <= other.x0 + 1 for one, other in pairwise(boxes))
        ticks = [axis.transData.transform((place, 0))[0] for place in axis.get_xticks()]
        assert max(abs(box.x0 + box.width / 2 - tick) for box, tick in zip(boxes, ticks, strict=True)) < 20


def test_places_are_spread_as_little_as_can_be() -> None:
    assert push_apart([0, 1, 1, 9], 2) == pytest.approx([-4 / 3, 2 / 3, 8 / 3, 9])
    assert push_apart([0, 5, 10], 2) == [0, 5, 10]
    assert push_apart([], 2) == []


def test_fitted_text_is_no_wider_and_says_what_it_leaves_out() -> None:
    with paper_style():
        for width in (0.4, 1.0, 3.0):
            lines = fitted(LONG, width, 7.0, lines=3).replace("\\$", "$").split("\n")
            assert len(lines) <= 3 and all(text_width(line.strip(), 7.0) <= width for line in lines)
            whole = "".join(line.strip() for line in lines)
            assert whole == LONG or (whole.count(ELLIPSIS) == 1 and LONG.startswith(whole.split(ELLIPSIS)[0]))
        assert fitted("short name", 3.0, 7.0) == "short name"
        assert fitted("two words", 0.4, 7.0) == "two\nwords"


def luminance(colour: str) -> float:
    """Relative luminance as the web content accessibility guidelines (WCAG 2) define it."""
    parts = matplotlib.colors.to_rgb(colour)
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("colour", [*COLOURS, *CLASS_COLOURS])
def test_no_colour_of_a_line_is_pale(colour: str) -> None:
    assert 1.05 / (luminance(colour) + 0.05) >= 3.5


def test_a_statistic_and_a_method_look_alike_in_every_figure() -> None:
    ranking = measured_ranking()
    (axis,) = FIGURES["dimensions"].load()(ranking, 7).figure.axes
    curves = {line.get_label(): line.get_color() for line in axis.lines}
    assert curves["TwoNN"] == statistic_look("twonn").colour and len(set(curves.values())) == 7
    small = method_looks({"kd": "kd", "scratch": "scratch"})
    large = method_looks({"feature-only (even:4)": "feature-only", "feature-only (q)": "feature-only", "kd": "kd"})
    assert small["kd"] == large["kd"] == look(2)
    assert len({(one.colour, one.marker) for one in large.values()}) == 3


def test_bars_that_begin_above_zero_are_torn_and_others_are_not() -> None:
    first, second = grid_bars_figure(grid()).figure.axes
    for axis in (first, second):
        torn = [line for line in axis.lines if line.get_label() == "_tear"]
        assert (len(torn) == 2) == (axis.get_xlim()[0] > 0)
        hatched = {patch.get_hatch() for patch in axis.patches}
        assert "//////" in hatched
