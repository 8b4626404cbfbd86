"""Figures hold the right values, and are files that a journal takes."""

import csv
import io
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image

from layerprobe.errors import LayerprobeError
from layerprobe.records import Evaluation, Layer, Ranking, Similarity
from layerprobe.report.figures.catalogue import FIGURES
from layerprobe.report.figures.confusion import confusion_figure
from layerprobe.report.figures.curves import curves_figure
from layerprobe.report.figures.drawing import draw_rankings
from layerprobe.report.figures.quality import panel_scores, quality_figure
from layerprobe.report.figures.relative_depth import relative_depth_figure
from layerprobe.report.figures.similarity import similarity_figure
from layerprobe.report.figures.style import WIDTHS, paper_style, save_figure
from layerprobe.report.tables.table import render
from layerprobe.settings.display import FigureSettings
from layerprobe.settings.rank import RankSettings
from tests.helpers.records import LAYERS, RANKING, geometry, measured_ranking, run

draw = partial(quality_figure, RANKING)


def test_quality_figure_draws_every_score_and_marks_the_chosen_layers() -> None:
    axes = quality_figure(RANKING).figure.axes
    scores = [score.name for score in panel_scores(RANKING)]
    assert scores == ["quality", "separation", "information", "efficiency"]
    for axis, score in zip(axes, scores, strict=True):
        values = [geometry.statistics[score] for geometry in RANKING.geometries]
        line, marked, *even = axis.lines
        assert [list(triangles.get_xdata()) for triangles in even] == ([[2, 4]] if score == "quality" else [])
        assert np.array_equal(line.get_xdata(), range(5)) and np.array_equal(line.get_ydata(), values, equal_nan=True)
        shown = [x for x, y in zip(marked.get_xdata(), marked.get_ydata(), strict=True) if not math.isnan(y)]
        assert shown == [1, 3]
        assert len(axis.patches) == 2
        (band,) = axis.collections
        corners = band.get_paths()[0].vertices
        interval = RANKING.geometries[1].intervals[score]
        assert {interval.low, interval.high} <= {y for x, y in corners if x == 1}
        assert axis.get_ylabel()
    legend = [text.get_text() for text in axes[0].figure.legends[0].get_texts()]
    assert legend == ["the 2 layers of highest quality", "90 % interval", "evenly spread layers, for contrast"]


def test_captions_are_apart_from_the_figure_unless_asked_for(tmp_path: Path) -> None:
    caption = quality_figure(RANKING).caption
    assert (
        caption.startswith("Knowledge quality Q, separation S")
        and "of every layer of net. Shaded, with filled markers: the 2 layers of highest quality." in caption
    )
    assert "60 images (20 per class) of 900" in caption and "Bands are 90 % intervals." in caption
    plain = save_figure(draw, tmp_path / "plain", "f", overwrite=False)
    captioned = save_figure(draw, tmp_path / "captioned", "f", overwrite=False, caption=True)
    in_figure = [
        "".join(text.itertext())
        for path in (plain[1], captioned[1])
        for text in ElementTree.parse(path).getroot().iter("{http://www.w3.org/2000/svg}g")
        if str(text.get("id")).startswith("text_") and "Shaded" in "".join(text.itertext())
    ]
    assert len(in_figure) == 1 and in_figure[0].split() == caption.split()
    with Image.open(plain[2]) as one, Image.open(captioned[2]) as other:
        assert one.text["Description"] == caption  # in the metadata in any case
        assert one.width == other.width and one.height < other.height


def test_the_option_writes_captions(tmp_path: Path) -> None:
    for folder, options in (("plain", {}), ("captioned", {"caption": True})):
        settings = RankSettings(features=(Path("a.h5"),), output=tmp_path / folder, **options)
        files = draw_rankings(settings, [RANKING], ["the same"])
        drawn = "".join(ElementTree.parse(files[1]).getroot().itertext())
        assert drawn.count("efficiency E of every layer") == 1 + len(options)  # in the metadata in any case


def test_of_many_layers_some_are_named_and_the_chosen_always() -> None:
    layers = [Layer(index, f"stage.{index}", "block", (4,), 0) for index in range(110)]
    chosen = ("stage.3", "stage.50", "stage.109")
    ranking = Ranking(
        tuple(replace(geometry(RANKING.geometries[1].layer), layer=layer) for layer in layers), "quality", chosen
    )
    labels = [label.get_text() for label in quality_figure(ranking).figure.axes[0].get_xticklabels()]
    assert set(chosen) <= set(labels) and 40 < len(labels) < 110


def test_curves_figure() -> None:
    left, right = curves_figure(run("kd", [40.0, 60.0], holdout=[41.0, 59.0])).figure.axes
    assert (left.get_ylabel(), right.get_ylabel()) == ("training loss", "top-1 (%)")
    assert [list(line.get_ydata()) for line in left.lines] == [[1.0, 0.5], [2.0, 1.0]]
    assert left.get_yscale() == "log"
    test, holdout, teacher = (list(line.get_ydata()) for line in right.lines)
    assert (test, holdout, teacher) == ([40.0, 60.0], [41.0, 59.0], [83.0, 83.0])
    assert len(curves_figure(run("kd", [40.0])).figure.axes[1].lines) == 2


def test_saved_figures_have_text_as_text_and_the_same_bytes_twice(tmp_path: Path) -> None:
    paths = save_figure(draw, tmp_path / "a", "f", overwrite=False)
    assert [path.name for path in paths] == ["f.pdf", "f.svg", "f.png", "f.csv"]
    pdf = paths[0].read_bytes()
    assert b"/Type3" not in pdf and b"/FontFile2" in pdf
    assert "knowledge quality Q</text>" in paths[1].read_text()
    (first, *_) = csv.DictReader(io.StringIO(paths[3].read_text()))
    assert first["layer"] == "layer0" and float(first["quality"]) == RANKING.geometries[0].statistics["quality"]
    again = save_figure(draw, tmp_path / "b", "f", overwrite=False)
    assert [path.read_bytes() for path in paths] == [path.read_bytes() for path in again]


def test_nothing_is_drawn_over(tmp_path: Path) -> None:
    (tmp_path / "f.png").write_text("mine")
    with pytest.raises(LayerprobeError, match="f.png exists; --overwrite replaces it"):
        save_figure(draw, tmp_path, "f", overwrite=False)
    assert [path.name for path in tmp_path.iterdir()] == ["f.png"] and (tmp_path / "f.png").read_text() == "mine"
    with pytest.raises(LayerprobeError, match="f.png is not a figure's .png file, and is not replaced"):
        save_figure(draw, tmp_path, "f", overwrite=True)
    assert (tmp_path / "f.png").read_text() == "mine"
    (tmp_path / "f.png").write_bytes(b"\x89PNG cut off")
    save_figure(draw, tmp_path, "f", overwrite=True)
    assert (tmp_path / "f.png").stat().st_size > 100
    with pytest.raises(LayerprobeError, match="is a file; --output names a folder"):
        save_figure(draw, tmp_path / "f.png", "f", overwrite=False)
    long = save_figure(draw, tmp_path / "c", "é" * 200, overwrite=False)
    assert len({path.stem for path in long}) == 1 and max(len(path.name.encode()) for path in long) <= 255


MEASURED = measured_ranking()


@pytest.mark.parametrize("width", WIDTHS.values(), ids=WIDTHS)
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_as_wide_as_asked_and_has_its_data_beside_it(name: str, width: float, tmp_path: Path) -> None:
    paths = save_figure(lambda: FIGURES[name].load()(MEASURED, width), tmp_path, name, overwrite=False)
    assert paths[2].name.endswith(".png")
    with Image.open(paths[2]) as image:
        assert image.width == round(300 * width)
    rows = list(csv.DictReader(io.StringIO(paths[3].read_text())))
    assert rows and all(None not in row.values() for row in rows)


def test_spectra_data_are_the_spectra() -> None:
    rows = FIGURES["spectra"].load()(MEASURED, 7).data.rows
    found = [row["share_of_variance"] for row in rows if row["layer"] == "layer2"]
    assert found == MEASURED.geometries[2].arrays["spectrum"].tolist()  # few enough for every component


def test_dimensions_curves() -> None:
    (axis,) = FIGURES["dimensions"].load()(MEASURED, 7).figure.axes
    assert axis.get_yscale() == "log"
    curves = {line.get_label(): list(line.get_ydata()) for line in axis.lines}
    assert curves["TwoNN"] == [one.statistics["twonn"] for one in MEASURED.geometries]
    assert curves["PCA, 95 %"] == [one.statistics["pca-95"] for one in MEASURED.geometries]
    assert set(curves["limit"]) == {60 - 1}  # of 60 images
    few = replace(MEASURED.geometries[4], statistics=MEASURED.geometries[4].statistics | {"dimension": 8.0})
    ranking = replace(MEASURED, geometries=(*MEASURED.geometries[:4], few))
    drawing = FIGURES["dimensions"].load()(ranking, 7)
    (limit,) = (line for line in drawing.figure.axes[0].lines if line.get_label() == "limit")
    assert list(limit.get_xydata()[-2:].flatten()) == [3.5, 8, 4.5, 8]
    assert "limit: n \N{MINUS SIGN} 1 = 59, or D" in [text.get_text() for text in drawing.figure.legends[0].get_texts()]
    assert [row["limit"] for row in drawing.data.rows] == [59, 59, 59, 59, 8]


def test_the_colours_of_spectra_reach_as_far_as_their_shares() -> None:
    axis, bar = FIGURES["spectra"].load()(MEASURED, 7).figure.axes
    shares = torch.cat([one.arrays["spectrum"] for one in MEASURED.geometries])
    assert axis.collections[0].get_clim() == (shares.min(), shares.max())
    ticks = [label.get_text() for label in bar.get_yticklabels() if label.get_text()]
    assert ticks and not any("$" in text or "e" in text for text in ticks)


def test_the_matrix_of_two_networks_names_both() -> None:
    values = torch.rand(5, 2, dtype=torch.float64)
    similarity = Similarity(LAYERS, LAYERS[3:], ("one", "other"), values, values / 2)
    drawing = similarity_figure(similarity, debiased=True)
    axis = drawing.figure.axes[0]
    assert (axis.get_ylabel(), axis.get_xlabel()) == ("layer of other", "layer of one")  # it lies down
    assert [label.get_text() for label in axis.get_yticklabels()] == ["layer3", "layer4"]
    assert np.array_equal(axis.images[0].get_array(), values.T / 2)
    lying = replace(
        similarity, first=LAYERS[3:], second=LAYERS, names=("other", "one"), cka=values.T, debiased=values.T
    )
    axis = similarity_figure(lying).figure.axes[0]
    assert (axis.get_ylabel(), axis.get_xlabel()) == ("layer of other", "layer of one")
    assert np.array_equal(axis.images[0].get_array(), values.T)
    first = drawing.data.rows[0]
    assert (first["first"], first["second"], first["cka"]) == ("layer0", "layer3", float(values[0, 0]))


def test_the_plane_shows_every_class_of_the_chosen_layers() -> None:
    drawing = FIGURES["plane"].load()(MEASURED, 7)
    titles = [axis.get_title(loc="left") for axis in drawing.figure.axes]
    assert titles == list(MEASURED.selected)
    labels = [text.get_text() for text in drawing.figure.legends[0].get_texts()]
    assert labels == ["ant", "bee", "cat"]
    points = MEASURED.geometries[1].arrays["plane"].tolist()
    assert [[row["component_1"], row["component_2"]] for row in drawing.data.rows[:60]] == points
    shown = sum(len(line.get_xdata()) for line in drawing.figure.axes[0].lines)
    assert shown == 60


def test_the_plane_of_many_classes_has_no_legend() -> None:
    classes = tuple(f"class {number}" for number in range(60))
    many = replace(MEASURED, labels=torch.arange(60), classes=classes)
    assert not FIGURES["plane"].load()(many, 7).figure.legends


def test_sizes_and_distances_hold_the_values() -> None:
    axes = FIGURES["sizes"].load()(MEASURED, 7).figure.axes
    (axis,) = (axis for axis in axes if axis.get_ylabel() == "knowledge quality Q")
    mean = MEASURED.geometries[1].arrays["at sizes quality"].mean(dim=1)
    assert any(np.allclose(line.get_ydata(), mean) for line in axis.lines)
    rows = FIGURES["distances"].load()(MEASURED, 7).data.rows
    within = [row["within_classes"] for row in rows if row["layer"] == "layer1"]
    assert within == MEASURED.geometries[1].arrays["within_classes"].tolist()


def test_several_networks_on_relative_depth() -> None:
    other = replace(RANKING, provenance={**RANKING.provenance, "model": "other"}, geometries=RANKING.geometries[::2])
    drawing = relative_depth_figure([RANKING, other])
    axis = drawing.figure.axes[0]
    assert list(axis.lines[0].get_xdata()) == [0, 0.25, 0.5, 0.75, 1]
    assert [row["model"] for row in drawing.data.rows] == ["net"] * 5 + ["other"] * 3
    chosen = [x for x, y in zip(axis.lines[1].get_xdata(), axis.lines[1].get_ydata(), strict=True) if not math.isnan(y)]
    assert chosen == [0.25, 0.75]


def test_a_style_sheet_is_laid_over_the_house_style(tmp_path: Path) -> None:
    sheet = tmp_path / "big.mplstyle"
    sheet.write_text("font.size: 20\nlines.linewidth: 5\n")
    with paper_style(sheet):
        axis = quality_figure(RANKING).figure.axes[0]
        assert axis.lines[0].get_linewidth() == 5
    with paper_style():
        assert quality_figure(RANKING).figure.axes[0].lines[0].get_linewidth() == 1.2
    with pytest.raises(LayerprobeError, match="no style sheet at"), paper_style(tmp_path / "none.mplstyle"):
        pass


def test_bad_widths() -> None:
    with pytest.raises(LayerprobeError, match="width is one of 'column', 'page'; not 'poster'"):
        FigureSettings.parse({"width": "poster"})


def test_data_files_have_no_marks() -> None:
    assert render(quality_figure(RANKING).data, "csv").splitlines()[0].endswith("efficiency_high,chosen")


def test_confusion_shows_shares_of_every_class() -> None:
    counts = torch.tensor([[3, 1, 0], [0, 5, 0], [0, 0, 0]])
    evaluation = Evaluation("run", "photos", "test", ("ant", "bee", "cat"), counts, None)
    drawing = confusion_figure(evaluation)
    axis = drawing.figure.axes[0]
    assert np.array_equal(axis.images[0].get_array(), [[75, 25, 0], [0, 100, 0], [0, 0, 0]])
    assert [text.get_text() for text in axis.texts] == ["75", "25", "100"]
    assert [label.get_text() for label in axis.get_xticklabels()] == ["ant", "bee", "cat"]
    assert drawing.caption.endswith("top-1 88.89 %, 9 images.")
    rows = {(row["class"], row["taken_for"]): (row["images"], row["percent"]) for row in drawing.data.rows}
    assert len(rows) == 9 and rows["ant", "bee"] == (1, 25)
    many = replace(evaluation, classes=tuple(map(str, range(40))), confusion=torch.eye(40, dtype=torch.int64))
    assert not confusion_figure(many).figure.axes[0].texts
