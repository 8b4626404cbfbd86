"""A feature file measured, layers chosen, the ranking file."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from layerprobe.errors import LayerprobeError
from layerprobe.features.hdf5.layout import FilePlan, create_file
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.features.hdf5.writer import FeatureFileWriter
from layerprobe.geometry.catalogue import ALWAYS, CLUSTERS, FAMILIES, SCORES, STATISTICS, TWO_VIEWS
from layerprobe.geometry.gram import gram_matrix
from layerprobe.geometry.measure import measure
from layerprobe.geometry.resampling import interval, score_deviations
from layerprobe.ranking.cache import StatisticsCache
from layerprobe.ranking.choose import select
from layerprobe.ranking.clusters import ClusterChoice, find_clusters
from layerprobe.ranking.file import load_ranking, ranking_path, save_ranking
from layerprobe.ranking.rank import rank
from layerprobe.records import Layer, LayerGeometry, Ranking, StoredLayer
from tests.helpers.feature_files import provenance


def layer(index: int) -> Layer:
    return Layer(index, f"layer{index}", "block", (6, 2, 2), index)


@pytest.fixture
def features(tmp_path: Path) -> FeatureFile:
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 8)
    data = [
        (spread * generator.normal(size=(3, 6, 2, 2))[labels] + generator.normal(size=(24, 6, 2, 2))).astype("f4")
        for spread in (0.1, 3.0, 1.0, 0.5)
    ]
    stored = tuple(StoredLayer(layer(index), (6, 2, 2)) for index in range(4))
    plan = FilePlan(stored, "float32", labels, np.arange(24), None, ("a", "b", "c"), provenance("m", 500))
    create_file(tmp_path / "f.h5", plan)
    with FeatureFileWriter(tmp_path / "f.h5") as writer:
        writer.write(0, data)
        writer.finish()
    return FeatureFile(tmp_path / "f.h5")


def test_every_layer_is_measured_on_its_own_features(features: FeatureFile) -> None:
    ranking = rank(features, top=2)
    for geometry in ranking.geometries:
        matrix = features.features(geometry.layer.index).flatten(1)
        expected = {**measure(gram_matrix([matrix], features.labels, 500)), "depth": geometry.layer.index / 3}
        assert geometry.statistics == pytest.approx(expected, rel=1e-5)
    assert ranking.provenance["model"] == "m" and ranking.provenance["rows"] == 24


@pytest.mark.parametrize("by", [name for name, one in SCORES.items() if one.family != TWO_VIEWS])
def test_the_highest_scores_are_chosen_in_order_of_depth(features: FeatureFile, by: str) -> None:
    ranking = rank(features, top=2, by=by)
    values = {one.layer.name: SCORES[by].sign * one.statistics[by] for one in ranking.geometries}
    best = sorted(values, key=values.__getitem__)[-2:]
    assert list(ranking.selected) == sorted(best)


def test_intervals_shares_and_layers_that_cannot_be_told_apart(features: FeatureFile) -> None:
    ranking = rank(features, top=2, resamples=40, level=0.8, seed=1)
    deviations = {}
    for geometry in ranking.geometries:
        gram = gram_matrix([features.features(geometry.layer.index).flatten(1)], features.labels, 500)
        deviations[geometry.layer.name] = score_deviations(gram, 40, seed=1)
        for score, found in geometry.intervals.items():
            expected = interval(geometry.statistics[score], deviations[geometry.layer.name][score], 0.8)
            assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-4, abs=1e-5)
            assert found.low < geometry.statistics[score] < found.high
    assert sum(geometry.top_share or 0 for geometry in ranking.geometries) == pytest.approx(2)
    values = {geometry.layer.name: geometry.statistics["quality"] for geometry in ranking.geometries}
    lowest = min(ranking.selected, key=values.__getitem__)
    for name in values.keys() - set(ranking.selected):
        difference = deviations[lowest]["quality"] - deviations[name]["quality"]
        apart = values[lowest] - values[name] - float(torch.quantile(difference, 0.9)) > 0
        assert (name not in ranking.undecided) == apart
    assert ranking.provenance["resamples"] == 40 and ranking.provenance["level"] == 0.8


def test_without_resamples_there_are_no_intervals(features: FeatureFile) -> None:
    ranking = rank(features, top=2, resamples=0)
    assert ranking.undecided == () and "resamples" not in ranking.provenance
    assert all(geometry.intervals == {} and geometry.top_share is None for geometry in ranking.geometries)
    with pytest.raises(LayerprobeError, match="--resamples is a multiple of four, or 0 for no intervals; not 10"):
        rank(features, top=2, resamples=10)
    with pytest.raises(LayerprobeError, match=r"--level is between 0 and 1, not 90"):
        rank(features, top=2, level=90)


def test_further_statistics(features: FeatureFile) -> None:
    ranking = rank(features, top=2, resamples=0, statistics=tuple(FAMILIES))
    groups = find_clusters(features, ClusterChoice(), StatisticsCache(None), None).labels
    for geometry in ranking.geometries:
        gram = gram_matrix([features.features(geometry.layer.index).flatten(1)], features.labels, 500)
        for family in FAMILIES:
            expected = measure(replace(gram, labels=groups), ALWAYS) if family == CLUSTERS else measure(gram, family)
            for name, value in expected.items():
                shown = f"cluster-{name}" if family == CLUSTERS else name
                if shown in STATISTICS:
                    assert geometry.statistics[shown] == pytest.approx(value, rel=1e-4, nan_ok=True)
    with pytest.raises(LayerprobeError, match="no statistics 'beauty'; known: 'neighbours', 'dimensions', 'collapse'"):
        rank(features, top=2, statistics=("beauty",))


def test_a_copy_of_a_layer_cannot_be_told_apart(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(2), 12)
    data = (generator.normal(size=(24, 6, 2, 2)) + labels[:, None, None, None]).astype("f4")
    flat = (100 + 0.01 * generator.normal(size=(24, 6, 2, 2))).astype("f4")
    stored = tuple(StoredLayer(layer(index), (6, 2, 2)) for index in range(3))
    plan = FilePlan(stored, "float32", labels, np.arange(24), None, ("a", "b"), provenance("m", 500))
    create_file(tmp_path / "f.h5", plan)
    with FeatureFileWriter(tmp_path / "f.h5") as writer:
        writer.write(0, [data, flat, data])
        writer.finish()
    with FeatureFile(tmp_path / "f.h5") as file:
        ranking = rank(file, top=1)
    assert ranking.selected == ("layer0",) and ranking.undecided == ("layer2",)


def test_layers_without_a_score_are_never_chosen() -> None:
    geometries = tuple(
        LayerGeometry(layer(index), {"quality": value}) for index, value in enumerate((1.0, math.nan, 3.0))
    )
    assert select(geometries, 2, SCORES["quality"]) == ("layer0", "layer2")
    with pytest.raises(LayerprobeError, match="only 2 of 3 layers have a value of 'quality', fewer than --top 3"):
        select(geometries, 3, SCORES["quality"])


def test_the_ranking_file_is_read_back(features: FeatureFile, tmp_path: Path) -> None:
    ranking = rank(features, top=2)
    path = ranking_path(features.path)
    assert path.name == "f.ranking.json"
    save_ranking(ranking, path)
    assert load_ranking(path) == ranking
    path.write_text(json.dumps({**ranking.to_dict(), "selected": []}))
    with pytest.raises(LayerprobeError, match="selected names no layer"):
        load_ranking(path)


def test_a_file_of_version_2_is_read_with_the_names_of_today(features: FeatureFile, tmp_path: Path) -> None:
    """Version 0.1.0 wrote underscores, and had other names for two of the statistics."""
    of_one_view = tuple(name for name in FAMILIES if name != TWO_VIEWS)
    ranking = rank(features, top=2, by="probe", resamples=8, statistics=of_one_view)
    values = ranking.to_dict()
    old = {"probe": "probe_accuracy", "knn": "knn_accuracy"}

    def renamed(name: str) -> str:
        return old.get(name, name.replace("-", "_"))

    for row in values["layers"]:
        for kind in ("statistics", "intervals"):
            row[kind] = {renamed(name): value for name, value in row[kind].items()}
    values |= {"format_version": 2, "score": renamed(values["score"])}
    values["provenance"]["families"] = values["provenance"].pop("statistics")
    (tmp_path / "old.json").write_text(json.dumps(values))
    found = load_ranking(tmp_path / "old.json")
    assert found.geometries == ranking.geometries and found.score == "probe"
    assert found.provenance == ranking.provenance


def test_a_score_of_ones_own_in_python(features: FeatureFile, tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def spread(gram):\n    return gram.centred.diagonal().mean()\n")
    name = f"{tmp_path}/mine.py:spread"
    ranking = rank(features, top=2, by=name, resamples=8, statistics=("collapse",))
    values = {one.layer.name: one.statistics[name] for one in ranking.geometries}
    assert set(ranking.selected) == set(sorted(values, key=values.__getitem__)[-2:])
    assert ranking.provenance["statistics"] == sorted(["collapse", name]) and not ranking.undecided
    with pytest.raises(LayerprobeError, match="no file .*gone.py"):
        rank(features, by=f"{tmp_path}/gone.py:spread")


def test_nan_is_null_in_the_file(tmp_path: Path) -> None:
    ranking = Ranking((LayerGeometry(layer(0), {"quality": math.nan}),), "quality", ("layer0",), {})
    save_ranking(ranking, tmp_path / "r.json")
    assert json.loads((tmp_path / "r.json").read_text())["layers"][0]["statistics"] == {"quality": None}
    assert math.isnan(load_ranking(tmp_path / "r.json").geometries[0].statistics["quality"])


def test_bad_requests(features: FeatureFile, tmp_path: Path) -> None:
    with pytest.raises(LayerprobeError, match=r"--top is 5, but the file has 4 layers; choose 1 to 4"):
        rank(features, top=5)
    with pytest.raises(LayerprobeError, match="no score 'beauty'; known: 'separation', 'information'"):
        rank(features, by="beauty")
    with pytest.raises(LayerprobeError, match="no ranking file at"):
        load_ranking(tmp_path / "none.json")
    for text in ("[]", '{"format": "other", "format_version": 1}', '{"format": "layerprobe-ranking"}'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(LayerprobeError, match="bad.json is not a layerprobe ranking of version 3"):
            load_ranking(tmp_path / "bad.json")


def test_a_file_without_a_finite_layer_is_refused(features: FeatureFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FeatureFile, "columns", lambda self, index: [torch.full((24, 4), torch.nan)])
    with pytest.raises(LayerprobeError, match="only 0 of 4 layers have a value of 'quality'.* not finite have none"):
        rank(features)
