"""Samples whose Gram matrices do not fit the memory are measured from strips, and what needs a matrix is declined."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from layerprobe.errors import LayerprobeError
from layerprobe.features.hdf5.layout import FilePlan, create_file
from layerprobe.features.hdf5.writer import FeatureFileWriter
from layerprobe.geometry.catalogue import FAMILIES, TWO_VIEWS, members
from layerprobe.ranking import grams
from layerprobe.ranking.rank_files import rank_files
from layerprobe.records import Layer, Ranking, StoredLayer
from layerprobe.settings.rank import RankSettings
from tests.helpers.feature_files import provenance

IMAGES, CLASSES = 300, 4
LITTLE, ENOUGH = 0.001, 0.1
"""GB in which a matrix of 300 images does not fit, and in which it does."""
STREAMED = ("neighbours", "collapse")
EVERY = tuple(name for name in FAMILIES if name != TWO_VIEWS)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "f.h5"
    shapes = ((6, 3, 3), (20,))
    layers = tuple(
        StoredLayer(Layer(index, f"block{index}", "block", shape, index), shape) for index, shape in enumerate(shapes)
    )
    generator = np.random.default_rng(0)
    labels = generator.integers(0, CLASSES, IMAGES)
    names = tuple(f"c{number}" for number in range(CLASSES))
    create_file(path, FilePlan(layers, "float16", labels, np.arange(IMAGES), None, names, provenance(population=999)))
    with FeatureFileWriter(path) as writer:
        writer.write(0, [(generator.normal(size=(IMAGES, *shape)) + 1).astype(np.float16) for shape in shapes])
        writer.finish()
    return path


def _ranked(features: Path, memory: float | None, tmp_path: Path, **others: Any) -> Ranking:
    settings = RankSettings(
        features=(features,), ranking=tmp_path / f"{memory}.json", top=1, cache=False, memory=memory, resamples=20,
        **others,
    )  # fmt: skip
    return rank_files(settings).rankings[0]


def test_all_that_strips_allow_is_as_from_a_matrix(
    features: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = _ranked(features, ENOUGH, tmp_path, statistics=STREAMED)
    caplog.clear()
    strips = _ranked(features, LITTLE, tmp_path, statistics=STREAMED)
    assert not caplog.records
    assert strips.selected == whole.selected
    for ours, theirs in zip(strips.geometries, whole.geometries, strict=True):
        assert ours.top_share == theirs.top_share is not None
        assert ours.statistics == pytest.approx(theirs.statistics, rel=1e-9)
        assert ours.intervals.keys() == theirs.intervals.keys() and ours.intervals
        for name, interval in theirs.intervals.items():
            assert (ours.intervals[name].low, ours.intervals[name].high) == pytest.approx(
                (interval.low, interval.high), rel=1e-9
            )


def test_what_needs_a_matrix_is_declined_in_one_line_with_the_memory_it_takes(
    features: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    ranking = _ranked(features, LITTLE, tmp_path, statistics=EVERY)
    lines = [record.getMessage() for record in caplog.records if "not measured" in record.getMessage()]
    assert lines == [
        "dimensions, probe, logme, rankme, clusters: not measured, since the Gram matrix of 300 images takes 0.1 GB "
        "of memory; allow that with --memory 0.1"
    ]
    assert set(ranking.provenance["statistics"]) == set(STREAMED)
    measured = {name for one in ranking.geometries for name in one.statistics}
    assert measured >= {one.name for family in STREAMED for one in members(family)}
    assert not measured & {"probe", "rankme", "effective-rank", "cluster-quality"}
    again = _ranked(features, ENOUGH, tmp_path, statistics=EVERY)
    assert set(again.provenance["statistics"]) == set(EVERY)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (
            {"by": "probe"},
            r"--by probe: the Gram matrix of 300 images takes 0.1 GB .*--memory 0.1, or choose",
        ),
        ({"sizes": (5,), "output": Path("figures")}, "--sizes: the Gram matrix of 300 images .*; or leave it out"),
    ],
)
def test_a_choice_that_needs_a_matrix_is_refused(
    features: Path, tmp_path: Path, asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(LayerprobeError, match=said):
        _ranked(features, LITTLE, tmp_path, **asked)


def test_large_samples_come_in_strips_unless_a_statistic_needs_the_matrix(
    features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(grams, "LARGE", 100)
    wholes: list[int] = []
    real = grams._gram_of_features
    monkeypatch.setattr(grams, "_gram_of_features", lambda *given: wholes.append(1) or real(*given))
    _ranked(features, ENOUGH, tmp_path)
    assert not wholes
    assert "probe" in _ranked(features, ENOUGH, tmp_path, statistics=("probe",)).geometries[0].statistics
    assert len(wholes) == 2


def test_class_blocks_that_exceed_the_memory_are_refused(
    features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layerprobe.ranking.grams.ClassBlocks.memory", lambda labels: 3e9)
    with pytest.raises(LayerprobeError, match=r"products of images of the same class take 3.* raise --memory to 4"):
        _ranked(features, LITTLE, tmp_path)
