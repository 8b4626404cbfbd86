"""Features of images without labels: extracted, kept in a file, ranked and drawn."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from layerprobe import FeatureDataset, FeatureFile
from layerprobe.errors import LayerprobeError
from layerprobe.features.hdf5.gram_file import GramFile
from layerprobe.geometry.catalogue import ALWAYS, SCORES, STATISTICS, members, needs_classes, needs_views
from layerprobe.geometry.measure import measure
from layerprobe.ranking.file import load_ranking
from layerprobe.ranking.grams import gram_of
from tests.helpers.commands import invoke, run

LABEL_FREE = {name for name, one in STATISTICS.items() if not needs_classes(one)}
EXTRACT = ("extract", "--model", "cifar:resnet20", "--weights", "random", "--layers", "1,6,10", "--seed", 1,
           "--device", "cpu")  # fmt: skip


@pytest.fixture
def flat(photos: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "flat"
    folder.mkdir()
    for path in sorted((photos / "train").rglob("*.png")):
        shutil.copy(path, folder / f"{path.parent.name}-{path.name}")
    return folder


@pytest.fixture
def features(flat: Path, tmp_path: Path) -> Path:
    run(*EXTRACT, "--data", flat, "--samples", 24, "--output", tmp_path / "free.h5", "--quiet")
    return tmp_path / "free.h5"


def test_the_file_is_of_version_3_and_has_no_labels(features: Path, flat: Path) -> None:
    with h5py.File(features) as file:
        assert file.attrs["format_version"] == 3 and "spectrum_sample" not in file.attrs
        assert "label" not in file["images"] and "classes" not in file
        assert json.loads(file.attrs["sample"])["how"].startswith("uniform")
    with FeatureFile(features) as file:
        assert file.labels is None and file.classes == () and file.header.rows == 24
        assert len(set(file.image_paths or ())) == 24 and all(
            (flat / path).is_file() for path in file.image_paths or ()
        )
    dataset = FeatureDataset(features, layers=[10])
    assert len(dataset) == 24 and dataset[0].keys() == {"linear.input"}


def test_a_labelled_extraction_of_the_same_images_has_the_same_features(photos: Path, tmp_path: Path) -> None:
    for name, more in (("with.h5", ()), ("without.h5", ("--unlabelled",))):
        same = ("--data", photos, "--samples", "all", "--num-classes", 3)
        run(*EXTRACT, *same, "--output", tmp_path / name, "--quiet", *more)
    with FeatureFile(tmp_path / "with.h5") as labelled, FeatureFile(tmp_path / "without.h5") as free:
        assert labelled.header.format_version == 2 and free.header.format_version == 3
        assert labelled.image_paths == free.image_paths
        assert all(torch.equal(labelled.features(layer), free.features(layer)) for layer in (1, 6, 10))
        with_labels, without = (measure(gram_of(file, file.layers[1]), "dimensions") for file in (labelled, free))
        assert with_labels == without


def test_it_goes_on_and_is_finished_once(features: Path, flat: Path, tmp_path: Path) -> None:
    whole = features.read_bytes()
    again = (*EXTRACT, "--data", flat, "--samples", 24, "--output", features)
    assert "nothing to do" in invoke(*again).stderr and features.read_bytes() == whole
    with h5py.File(features, "r+") as file:
        file["complete"][0], file["images/written"][5] = 0, 0
    run(*again, "--quiet")
    with FeatureFile(features) as file:
        assert file.complete and not file.damaged_layers()
    assert "another extraction" in run(*EXTRACT, "--data", flat, "--samples", 20, "--output", features, code=2)


def test_ranked_by_what_needs_no_classes(features: Path, tmp_path: Path) -> None:
    shutil.copy(features, tmp_path / "default.h5")
    default = invoke("rank", tmp_path / "default.h5", "--top", 2)
    assert (
        "have no labels, and quality needs classes: layers are chosen by effective-rank (--by names" in default.stderr
    )
    assert load_ranking(tmp_path / "default.ranking.json").score == "effective-rank"
    error = run("rank", features, "--by", "quality", code=2)
    assert "the knowledge quality needs classes, and the images have no labels" in error
    allowed = error.rpartition("this sample allows ")[2].strip().split(", ")
    of_one_view = {name for name, score in SCORES.items() if name in LABEL_FREE and not needs_views(score)}
    assert set(allowed) == of_one_view and "twonn" in allowed and "lidar" not in allowed
    command = ("rank", features, "--by", "effective-rank", "--top", 2, "--statistics", "neighbours")
    result = invoke(*command, "--figures", "quality,distances,plane", "--output", tmp_path / "figures")
    assert "S, I, E, Q, 10-NN" in result.stderr and "need classes, and are not measured" in result.stderr
    assert "distances is not drawn" in result.stderr and "eff. rank" in result.stdout and " Q " not in result.stdout
    drawn = {path.name.split(".")[1] for path in (tmp_path / "figures").iterdir()}
    assert drawn == {"quality", "plane"}
    ranking = load_ranking(tmp_path / "free.ranking.json")
    assert all(one.statistics.keys() <= LABEL_FREE for one in ranking.geometries)
    assert {one.name for one in members(ALWAYS)} & LABEL_FREE <= ranking.geometries[0].statistics.keys()
    with FeatureFile(features) as file:  # straight from the features
        for one, stored in zip(ranking.geometries, file.layers, strict=True):
            centred = file.features(stored.layer.index).flatten(1).double()
            shares = torch.linalg.svdvals(centred - centred.mean(0)).square()
            shares = shares / shares.sum()
            expected = torch.exp(-torch.xlogy(shares, shares).sum())
            assert one.statistics["effective-rank"] == pytest.approx(float(expected), rel=1e-4)


def test_what_needs_classes_is_refused_in_one_line(features: Path, flat: Path, tmp_path: Path) -> None:
    sizes = ("rank", features, "--by", "twonn", "--top", 2, "--sizes", 2, "--output", tmp_path / "figures")
    assert "--sizes are images per class" in run(*sizes, code=2)
    spectra = (*EXTRACT, "--data", flat, "--spectrum-samples", 5, "--output", tmp_path / "other.h5")
    assert "--spectrum-samples are of classes" in run(*spectra, code=2)
    own = tmp_path / "own.py"
    own.write_text("def classes(gram):\n    return float(len(gram.known_labels.unique()))\n")
    error = run("rank", features, "--by", f"{own}:classes", "--top", 2, code=2)
    assert "fails for a Gram matrix (ValueError: the images have no labels)" in error.splitlines()[-1]


def test_gram_files_without_labels(flat: Path, features: Path, tmp_path: Path) -> None:
    grams = tmp_path / "grams.h5"
    run(*EXTRACT, "--data", flat, "--samples", 24, "--output", grams, "--stats-only", "--quiet")
    with GramFile(grams) as file, FeatureFile(features) as whole:
        assert file.labels is None and file.classes == () and file.header.format_version == 2
        for stored, other in zip(file.layers, whole.layers, strict=True):
            ours, theirs = gram_of(file, stored), gram_of(whole, other)
            assert ours.labels is None and torch.allclose(ours.centred, theirs.centred, rtol=1e-5, atol=1e-3)
    assert "twonn" in run("rank", grams, "--by", "twonn", "--top", 2)


@pytest.mark.parametrize("there", ["images/label", "classes"])
def test_a_file_that_has_half_of_the_labels_is_damaged(features: Path, there: str) -> None:
    with h5py.File(features, "r+") as file:
        file[there] = np.zeros(24, np.int64)
    with pytest.raises(LayerprobeError, match=f"with {there} needs an attribute spectrum_sample"):
        FeatureFile(features)


def test_a_file_of_version_2_without_labels_is_damaged(features: Path) -> None:
    with h5py.File(features, "r+") as file:
        file.attrs["format_version"] = 2
    with pytest.raises(LayerprobeError, match="it has no data set images/label"):
        FeatureFile(features)
