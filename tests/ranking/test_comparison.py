"""Layers compared by the neighbourhoods of their images, from the command line to the table and the figure."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
import torch

from layerprobe.geometry.gram import gram_matrix
from layerprobe.geometry.half_draws import halves_of
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
        arrays = [source.features(stored.layer.index).flatten(1).double().numpy() for stored in source.layers]
        names = [stored.layer.name for stored in source.layers]
    ranks = [neighbour_ranks(gram) for gram in grams]
    expected = mutual_neighbours(ranks, ranks).numpy()
    assert [row["layer"] for row in rows] == names
    found = [[float(value) for name, value in row.items() if name.startswith("mutual")] for row in rows]
    values, low, high = (np.array(found)[:, place::3] for place in range(3))
    assert np.allclose(values, expected)
    by_hand = torch.stack([torch.from_numpy(overlaps(arrays, half.numpy())) for half in halves_of(40, None, 40, 0)])
    differences = (by_hand[:20] - by_hand[20:]) / 2
    ends = np.quantile(np.concatenate([differences, -differences]), [0.05, 0.95], axis=0)
    assert np.allclose(low, expected - ends[1]) and np.allclose(high, expected - ends[0])
    assert (low <= values).all() and (values <= high).all() and low[0, 1] < high[0, 1]
    assert "the widest of" in run("compare-layers", features, "--measure", "mutual-neighbours")
    run("compare-layers", features, "--measure", "information-imbalance", "--output", tmp_path)
    drawn = (tmp_path / "f.f.information-imbalance.csv").read_text().splitlines()
    assert (
        drawn[0] == "first,second,information-imbalance,information-imbalance_low,information-imbalance_high"
        and len(drawn) == 10
    )
    assert float(drawn[1].split(",")[2]) == 2 / 40


def overlaps(layers: list[np.ndarray], half: np.ndarray) -> np.ndarray:
    """The overlap of neighbourhoods of every pair of layers in half of the images, from the distances there."""
    nearest = []
    for features in layers:
        images = features[half]
        distances = ((images[:, None] - images) ** 2).sum(axis=2)
        np.fill_diagonal(distances, -1)
        nearest.append([set(row[1:11]) for row in distances.argsort(axis=1, kind="stable")])
    return np.array(
        [[np.mean([len(a & b) / 10 for a, b in zip(one, two, strict=True)]) for two in nearest] for one in nearest]
    )


def test_what_can_not_be_is_refused(features: Path) -> None:
    said = run("compare-layers", features, "--measure", "mutual-neighbours", "--debiased", code=2)
    assert "--debiased is an estimate of CKA, and --measure is mutual-neighbours" in " ".join(said.split())
    assert "closest" in run("compare-layers", features, "--measure", "mutual", code=2)
