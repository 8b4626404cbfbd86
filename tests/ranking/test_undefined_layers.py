"""A layer with NaN and one that overflows among good ones: they are undefined, and the others are as without them."""

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from layerprobe.errors import LayerprobeError
from layerprobe.features.hdf5.gram_file import GramFile, write_grams
from layerprobe.features.hdf5.layout import FilePlan, create_file
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.features.hdf5.writer import FeatureFileWriter
from layerprobe.geometry.gram import NotFiniteError, gram_matrix
from layerprobe.ranking.catalogue import RULES
from layerprobe.ranking.choose import Choice
from layerprobe.ranking.file import load_ranking, save_ranking
from layerprobe.ranking.measure import Measurements
from layerprobe.ranking.problem import SelectionProblem, apply_rule
from layerprobe.ranking.rank import chosen_layers, rank, rank_source
from layerprobe.ranking.similarity import layer_similarity
from layerprobe.records import Layer, StoredLayer
from layerprobe.records.cautions import cautions
from layerprobe.report.figures.catalogue import FIGURES
from layerprobe.report.tables.ranking import ranking_table, similarity_table
from layerprobe.report.tables.table import render
from layerprobe.settings.layer_choice import LayerChoice
from tests.helpers.feature_files import provenance

LAYERS = tuple(StoredLayer(Layer(index, f"block{index}", "block", (6,), index), (6,)) for index in range(6))
GOOD = ["block0", "block2", "block3", "block5"]


def data() -> tuple[list[np.ndarray], np.ndarray]:
    """Of six layers the second has NaN in one image, the fifth is infinite in three."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 24)
    layers = [
        (spread * generator.normal(size=(3, 6))[labels] + generator.normal(size=(72, 6))).astype("f2")
        for spread in (0.1, 1, 3, 1, 2, 0.5)
    ]
    layers[1][7, 2] = np.nan
    layers[4][[0, 1, 70], 3] = np.inf
    return layers, labels


def plan(labels: np.ndarray) -> FilePlan:
    return FilePlan(LAYERS, "float16", labels, np.arange(72), None, ("a", "b", "c"), provenance("m", 500))


@pytest.fixture
def features(tmp_path: Path) -> Iterator[FeatureFile]:
    layers, labels = data()
    create_file(tmp_path / "f.h5", plan(labels))
    with FeatureFileWriter(tmp_path / "f.h5") as writer:
        writer.write(0, layers)
        writer.finish()
    with FeatureFile(tmp_path / "f.h5") as file:
        yield file


def test_the_others_are_as_without_them(
    features: FeatureFile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    found = rank(features, 2, statistics=("neighbours", "dimensions"), resamples=8)
    assert (
        caplog.text.count("layer 'block1' of f.h5 has NaN in 1 of 72 images: it has no statistics, and is ranked") == 1
    )
    assert caplog.text.count("layer 'block4' of f.h5 has infinite values in 3 of 72 images") == 1
    alone = rank(features, 2, statistics=("neighbours", "dimensions"), resamples=8, layers=LayerChoice.of(GOOD))
    defined = {one.layer.name: one for one in found.geometries if not one.undefined}
    assert list(defined) == GOOD and found.selected == alone.selected
    for one in alone.geometries:
        assert str(one.statistics) == str(
            defined[one.layer.name].statistics
        )  # some are NaN: the layers have 6 features
        assert str(one.intervals) == str(defined[one.layer.name].intervals)
        assert one.top_share == defined[one.layer.name].top_share
    assert not set(found.undecided) - set(GOOD)
    for one in found.geometries:
        if one.undefined:
            known = {name for name, value in one.statistics.items() if not math.isnan(value)}
            assert known == {"dimension", "depth"} and one.top_share is None and not one.intervals
            assert one.statistics.keys() == alone.geometries[0].statistics.keys()
    save_ranking(found, tmp_path / "r.json")
    assert "block1 (NaN in 1 of 72 images), block4 (infinite values in 3 of 72 images)" in cautions(found)[0]
    assert cautions(load_ranking(tmp_path / "r.json"))[0] == cautions(found)[0]
    row = next(line for line in render(ranking_table(found)).splitlines() if " block1 " in line)
    assert row.split()[3:5] == ["6", "6"] and set(row.split()[5:]) == {"-"}


def test_they_are_never_chosen(features: FeatureFile) -> None:
    by_depth = rank(features, 4, by="depth", resamples=0)
    assert list(by_depth.selected) == GOOD
    with pytest.raises(LayerprobeError, match=r"only 4 of 6 .* none \(block1, block4\); choose 4 or fewer"):
        rank(features, 5, resamples=0)
    names = [stored.layer for stored in LAYERS]
    generator = torch.Generator().manual_seed(0)
    problem = SelectionProblem(by_depth, names, names[:3], generator)
    assert set(apply_rule(RULES.find("quality"), problem)) <= set(GOOD)
    with pytest.raises(LayerprobeError, match="even chose block1, which has NaN in 1 of 72 images; name the layers"):
        apply_rule(RULES.find("even"), problem)


def test_similarity_has_gaps(features: FeatureFile, caplog: pytest.LogCaptureFixture) -> None:
    found = layer_similarity(features)
    assert "layer 'block1' of f.h5 has NaN in 1 of 72 images: it has no statistics" in caplog.text
    alone = layer_similarity(features, layers=chosen_layers(features, LayerChoice.of(GOOD)))
    places = [0, 2, 3, 5]
    for whole, part in ((found.cka, alone.cka), (found.debiased, alone.debiased)):
        assert torch.equal(whole[places][:, places], part)
        assert bool(whole[[1, 4]].isnan().all()) and bool(whole[:, [1, 4]].isnan().all())
    assert json.loads(render(similarity_table(found, False), "json"))["details"]["cka"][1] == [None] * 6


def test_every_figure_is_drawn_without_them(features: FeatureFile) -> None:
    every = Measurements(
        tuple(dict.fromkeys(name for one in FIGURES.values() for name in one.statistics)),
        tuple(dict.fromkeys(view for one in FIGURES.values() for view in one.views)),
        resamples=4,
        sizes=(4, 8),
    )
    ranking = rank_source(features, Choice(2), every, similarity=True)
    for figure in FIGURES.values():
        table = figure.load()(ranking, 7.0).data
        shown = [row for row in table.rows if row.get("layer") == "block1"]
        measured = [value for row in shown for name, value in row.items() if name != "limit"]  # that of the sample
        assert all(value in (None, "block1", 1, 0) or math.isnan(value) for value in measured)


def test_a_gram_file_says_why(tmp_path: Path) -> None:
    layers, labels = data()
    grams = []
    for stored, values in zip(LAYERS, layers, strict=True):
        try:
            grams.append((stored, gram_matrix([torch.from_numpy(values)], torch.from_numpy(labels), 500)))
        except NotFiniteError as error:
            grams.append((stored, error))
    write_grams(tmp_path / "g.h5", plan(labels), grams)
    with GramFile(tmp_path / "g.h5") as file:
        ranking = rank(file, 2, resamples=0)
        assert [one.undefined for one in ranking.geometries if one.undefined] == [
            "NaN in 1 of 72 images",
            "infinite values in 3 of 72 images",
        ]
