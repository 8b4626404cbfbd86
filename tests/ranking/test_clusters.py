"""Scores of clusters from the command line to the ranking file: declared, kept, and refused where they can't be."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from layerprobe.errors import LayerprobeError
from layerprobe.geometry.catalogue import CLUSTERS, members
from layerprobe.ranking import clusters as module
from layerprobe.ranking.clusters import ClusterChoice, with_layer
from layerprobe.ranking.file import load_ranking
from layerprobe.ranking.grams import open_source
from tests.helpers.commands import invoke, run

NAMES = ("cluster-separation", "cluster-information", "cluster-efficiency", "cluster-quality")


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clusters") / "f.h5"
    run("extract", "--model", "cifar:resnet20", "--weights", "random", "--data", "digits", "--samples", 60,
        "--layers", "layer1.0,layer2.0,layer3.2,-1", "--output", path, "--quiet")  # fmt: skip
    return path


def ranked(features: Path, *arguments: object) -> str:
    return run("rank", features, "--overwrite", "--resamples", 8, "--top", 2, *arguments)


def test_they_are_declared_in_the_table_and_in_the_ranking_file(features: Path) -> None:
    table = ranked(features, "--by", "cluster-quality", "--clusters", 3, "--clusters-of", "layer2.0")
    words = " ".join(table.split())
    assert "S_clu, I_clu, E_clu, Q_clu: 3 clusters of the images by layer2.0 (k-means, seed 0, silhouette 0." in words
    assert "not their classes" in words
    ranking = load_ranking(features.with_suffix(".ranking.json"))
    assert ranking.provenance[CLUSTERS] | {"silhouette": 0, "smallest": 4} == {
        "layer": "layer2.0", "count": 3, "chosen": "given", "silhouette": 0, "seed": 0, "smallest": 4,
    }  # fmt: skip
    assert tuple(one.name for one in members(CLUSTERS)) == NAMES
    assert all({*NAMES} <= one.statistics.keys() and {*NAMES} <= one.intervals.keys() for one in ranking.geometries)


def test_the_number_is_chosen_by_the_silhouette_and_the_last_block_is_meant(features: Path) -> None:
    found = re.search(r"(\d+) clusters of the images by (\S+) .*?highest silhouette", " ".join(
        ranked(features, "--clusters", "auto").split()))  # fmt: skip
    assert found is not None and found[2] == "layer3.2"
    assert 2 <= int(found[1]) <= 15


def test_a_second_call_finds_no_clusters_anew_and_another_choice_is_told_from_it(
    features: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranked(features, "--clusters", 3)
    monkeypatch.setattr(module, "k_means", lambda *arguments: pytest.fail("computed again"))
    run("rank", features, "--resamples", 8, "--top", 2, "--clusters", 3)
    held = json.loads(features.with_suffix(".ranking.json").read_text())
    run("rank", features, "--resamples", 8, "--top", 2, "--statistics", "collapse")
    added = json.loads(features.with_suffix(".ranking.json").read_text())
    assert added["provenance"]["statistics"] == ["clusters", "collapse"]
    assert added["provenance"][CLUSTERS] == held["provenance"][CLUSTERS]
    assert added["layers"][0]["statistics"]["cluster-quality"] == held["layers"][0]["statistics"]["cluster-quality"]
    monkeypatch.undo()
    said = " ".join(invoke("rank", features, "--resamples", 8, "--top", 2, "--clusters", 2).stderr.split())
    assert "was not changed, since it holds scores of 3 clusters of the images by layer3.2" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--clusters", 1), "--clusters is "),
        (("--clusters", "many"), "--clusters is "),
        (("--clusters", "²"), "--clusters is "),
        (("--clusters", 31), "--clusters 31: a cluster needs two images, and the sample has 60; choose 30 or fewer"),
        (("--clusters", 10**30), "--clusters"),
        (("--clusters", 3, "--clusters-of", "layer9"), "--clusters-of: "),
        (("--clusters-of", "layer2.0"), "no scores of clusters are asked for; give --clusters auto"),
    ],
)
def test_hostile_values_are_refused(features: Path, arguments: tuple[object, ...], said: str) -> None:
    message = " ".join(run("rank", features, "--top", 2, *arguments, code=2).split())
    assert said in message and "Traceback" not in message


def test_a_sample_without_clusters_has_no_scores_of_them(
    features: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none(*arguments: object) -> None:
        raise ValueError("no number of clusters leaves 4 images in each")

    monkeypatch.setattr(module, "choose_clusters", none)
    words = " ".join(ranked(features, "--clusters", "auto", "--seed", 5).split())
    assert "no clusters of the images were found in layer3.2" in words
    ranking = load_ranking(features.with_suffix(".ranking.json"))
    assert all(np.isnan(one.statistics["cluster-quality"]) for one in ranking.geometries)


def test_the_layer_is_one_of_the_file(features: Path) -> None:
    with open_source(features) as source:
        assert with_layer(ClusterChoice(), source) == ClusterChoice(None, "layer3.2", 0)
        with pytest.raises(LayerprobeError, match="has no layer 'layer3'; closest: 'layer3.2'"):
            with_layer(ClusterChoice(3, "layer3"), source)


def test_images_without_labels_have_intervals_and_scores_of_clusters(features: Path) -> None:
    other = features.with_name("unlabelled.h5")
    run("extract", "--model", "cifar:resnet20", "--weights", "random", "--data", "digits", "--samples", 60,
        "--layers", "layer1.0,layer2.0,layer3.2,-1", "--output", other, "--unlabelled", "--quiet")  # fmt: skip
    for score in ("effective-rank", "rankme", "cluster-quality", "twonn"):
        result = invoke("rank", other, "--overwrite", "--by", score, "--resamples", 8, "--top", 2)
        said = " ".join(result.stderr.split())
        assert "no rule" in said and "--layers even:2 spreads the layers evenly" in said
        assert "even-information" not in said
        assert ("by the scores of clusters of the images, not of their classes" in said) == (score == "cluster-quality")
        ranking = load_ranking(other.with_suffix(".ranking.json"))
        assert all(score in one.intervals for one in ranking.geometries)
        assert "quality" not in ranking.geometries[0].statistics
    run(
        "rank",
        other,
        "--by",
        "twonn",
        "--clusters",
        3,
        "--resamples",
        8,
        "--top",
        2,
        "--output",
        other.parent / "figures",
    )
    heading = (other.parent / "figures" / "unlabelled.quality.csv").read_text().splitlines()[0].split(",")
    assert [name for name in heading if name in (*NAMES, "twonn")] == [NAMES[3], *NAMES[:3], "twonn"]
    again = invoke("rank", other, "--by", "effective-rank", "--statistics", "logme", "--resamples", 8, "--top", 2)
    assert "LogME" in again.stderr and "need classes" in again.stderr


def test_a_file_without_blocks_has_its_last_layer_for_them(tmp_path: Path) -> None:
    run("extract", "--model", "cifar:resnet20", "--weights", "random", "--data", "digits", "--samples", 40,
        "--layers", "-1", "--output", tmp_path / "f.h5", "--quiet")  # fmt: skip
    with open_source(tmp_path / "f.h5") as source:
        assert with_layer(ClusterChoice(), source).layer == source.layers[-1].layer.name == "linear.input"
