"""Augmented views of the images: extracted, the same whenever they are drawn, and compared by ``rank``."""

import json
import math
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from layerprobe import FeatureFile
from layerprobe.data.datasets import open_dataset
from layerprobe.data.loading import Pixels
from layerprobe.data.views import ViewedPixels
from layerprobe.errors import LayerprobeError
from layerprobe.experiments.resolve_rules import resolve_rules
from layerprobe.ranking.file import load_ranking
from layerprobe.records import Preprocessing, Run
from tests.conftest import small_plan
from tests.helpers.commands import invoke, run

EXTRACT = ("extract", "--model", "cifar:resnet20", "--weights", "random", "--layers", "1,6,10", "--device", "cpu",
           "--samples", 40, "--quiet")  # fmt: skip


@pytest.fixture
def views(tmp_path: Path) -> tuple[Path, Path]:
    paths = tmp_path / "one.h5", tmp_path / "two.h5"
    for number, path in enumerate(paths, 1):
        run(*EXTRACT, "--data", "digits", "--view", number, "--output", path)
    return paths


def test_a_view_is_that_of_its_image_whatever_is_drawn_beside_it() -> None:
    dataset = open_dataset("digits")
    images = Pixels(dataset, np.arange(12), Preprocessing((8, 8), (0.0,) * 3, (1.0,) * 3))
    view, other, again = (ViewedPixels(images, number, 0) for number in (1, 2, 1))
    state = torch.get_rng_state()
    batch = view.__getitems__(range(12)).pixels
    assert torch.equal(torch.get_rng_state(), state)
    assert batch.shape == (12, 3, 8, 8) and batch.dtype == torch.uint8
    changed = [not torch.equal(batch[row], images.__getitems__([row]).pixels[0]) for row in range(12)]
    assert sum(changed) >= 11 and not torch.equal(batch, other.__getitems__(range(12)).pixels)
    few = again.only(np.array([7, 3])).__getitems__([0, 1]).pixels
    assert torch.equal(few, batch[[7, 3]])
    assert not torch.equal(ViewedPixels(images, 1, 5).__getitems__(range(12)).pixels, batch)


def test_a_file_says_its_view_and_goes_on_with_it(views: tuple[Path, Path], tmp_path: Path) -> None:
    whole = FeatureFile(views[0])
    assert whole.header.view and (whole.header.view.number, whole.header.view.seed) == (1, 0)
    features = whole.features(6)
    whole.close()
    assert "images augmented: view 1 of the images, seed 0: random crop of 20 to 100 %" in run("inspect", views[0])
    with h5py.File(views[0], "r+") as file:
        file["complete"][0], file["images/written"][5] = 0, 0
        file["layers/000006"][5] = 0
    run(*EXTRACT, "--data", "digits", "--view", 1, "--output", views[0])
    with FeatureFile(views[0]) as file:
        assert file.complete and torch.equal(file.features(6), features)
    assert "view: {'number'" in run(*EXTRACT, "--data", "digits", "--output", views[0], code=2)


def test_rank_by_two_views_is_the_formula_in_float64(views: tuple[Path, Path], tmp_path: Path) -> None:
    result = invoke("rank", views[0], "--second-view", views[1], "--by", "lidar", "--top", 2, "--resamples", 40)
    assert "LiDAR, InfoNCE: view 1 of the images" in result.stdout and "with view 2 of the images" in result.stdout
    ranking = load_ranking(tmp_path / "one.ranking.json")
    assert ranking.score == "lidar" and ranking.provenance["second_view"]["view"]["number"] == 2
    with FeatureFile(views[0]) as one, FeatureFile(views[1]) as two:
        for layer in ranking.geometries:
            name = layer.layer.name
            x = np.stack([file.features(name).flatten(1).double().numpy() for file in (one, two)])
            assert layer.statistics["lidar"] == pytest.approx(by_formula(x), rel=0.01), name
            unit = x / np.linalg.norm(x, axis=2, keepdims=True)
            logits = unit[0] @ unit[1].T / 0.1
            losses = [np.log(np.exp(each).sum(axis=1)) - np.diag(each) for each in (logits, logits.T)]
            assert layer.statistics["infonce"] == pytest.approx(1 - np.mean(losses) / math.log(40), abs=1e-4)
            for score in ("lidar", "infonce"):
                assert layer.intervals[score].low < layer.statistics[score] < layer.intervals[score].high
    kept = run("rank", views[0], "--by", "lidar", "--second-view", views[1], "--top", 2, "--resamples", 40)
    assert kept == result.stdout
    unchanged = invoke("rank", views[0], "--statistics", "collapse", "--by", "quality", "--top", 2).stderr
    assert "was not changed" in unchanged and load_ranking(tmp_path / "one.ranking.json").score == "lidar"


def by_formula(x: np.ndarray) -> float:
    """LiDAR of (views, n, D) features in D dimensions, by way of the residuals' singular vectors."""
    count, n, _ = x.shape
    means = x.mean(axis=0)
    residuals, centred = (x - means).reshape(count * n, -1), means - means.mean(axis=0)
    _, singular, rows = np.linalg.svd(residuals, full_matrices=False)
    rows, singular = rows[singular > 1e-5 * singular.max()], singular[singular > 1e-5 * singular.max()]
    along = centred @ rows.T
    rest = centred - along @ rows
    scaled = np.hstack([along / np.sqrt(singular**2 / (count * n) + 1e-4), rest / 1e-2])
    values = np.linalg.svd(scaled / math.sqrt(n), compute_uv=False)[: min(n - 1, x.shape[2])] ** 2
    p = values / values.sum() + 1e-7
    return math.exp(-(p * np.log(p)).sum())


def test_what_is_no_pair_of_views_is_refused(views: tuple[Path, Path], digits_teacher: Run, tmp_path: Path) -> None:
    assert "give --second-view FILE" in run("rank", views[0], "--by", "infonce", code=2)
    assert "have the same view of the images" in run("rank", views[0], "--second-view", views[0], code=2)
    run(*EXTRACT, "--data", "digits", "--view", 2, "--seed", 1, "--output", tmp_path / "other.h5")
    assert "hold other images" in run("rank", views[0], "--second-view", tmp_path / "other.h5", code=2)
    run(*EXTRACT, "--data", "digits", "--stats-only", "--output", tmp_path / "grams.h5")
    assert "extract without --stats-only" in run("rank", tmp_path / "grams.h5", "--second-view", views[1], code=2)
    refused = run(*EXTRACT, "--data", "digits", "--view", 1, "--stats-only", "--output", tmp_path / "g.h5", code=2)
    assert "--view is compared with another view by the features of both; leave --stats-only out" in refused
    plan = small_plan(digits_teacher, tmp_path)
    with pytest.raises(LayerprobeError, match="lidar:2 looks at lidar, which compares two views .* --second-view"):
        resolve_rules(plan.replaced(layers="lidar:2"))
    assert json.loads(run("inspect", views[1], "--format", "json"))["details"]["view"]["number"] == 2
