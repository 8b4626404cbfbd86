"""Layers compared by the neighbourhoods of their images, from the command line to the table and the figure."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch

from layerprobe.geometry.gram import gram_matrix
from layerprobe.geometry.neighbour_ranks import mutual_neighbours, neighbour_ranks
from layerprobe.ranking.grams import open_source
from tests.helpers.commands import run


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("comparison") / "f.h5"
    run("extract", "--model", "cifar:resnet20", "--weights", "random", "--data", "digits", "--samples", 40,
        "--layers", "layer1.0,layer3.2,-1", "--output", path, "--quiet", "--unlabelled")  # fmt: skip
    return path


def test_the_table_has_what_the_features_say(features: Path, tmp_path: Path) -> None:
    output = run("compare-layers", features, "--measure", "mutual-neighbours", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(output)))
    with open_source(features) as source:
        grams = [
            gram_matrix([torch.cat(list(source.columns(stored.layer.index)), dim=1)], None, 40)
            for stored in source.layers
        ]
        names = [stored.layer.name for stored in source.layers]
    ranks = [neighbour_ranks(gram) for gram in grams]
    expected = mutual_neighbours(ranks, ranks).numpy()
    assert [row["layer"] for row in rows] == names
    found = [[float(value) for name, value in row.items() if name.startswith("mutual")] for row in rows]
    assert np.allclose(found, expected)
    run("compare-layers", features, "--measure", "information-imbalance", "--output", tmp_path)
    drawn = (tmp_path / "f.f.information-imbalance.csv").read_text().splitlines()
    assert drawn[0] == "first,second,information-imbalance" and len(drawn) == 10
    assert float(drawn[1].rsplit(",", 1)[1]) == 2 / 40


def test_what_can_not_be_is_refused(features: Path) -> None:
    said = run("compare-layers", features, "--measure", "mutual-neighbours", "--debiased", code=2)
    assert "--debiased is an estimate of CKA, and --measure is mutual-neighbours" in " ".join(said.split())
    assert "closest" in run("compare-layers", features, "--measure", "mutual", code=2)
