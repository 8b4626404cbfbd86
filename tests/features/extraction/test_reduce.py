"""Pooled maps, reduced tokens and random projections."""

import math

import numpy as np
import pytest
import torch

from layerprobe.errors import LayerprobeError
from layerprobe.features.extraction import reduce
from layerprobe.features.extraction.reduce import Project, Reduction, plan_reduction
from layerprobe.layers.space import Space
from layerprobe.records import Layer, Shape

MAP, SWIN = Layer(0, "map", "block", (5, 8, 6), 0), Layer(1, "swin", "block", (8, 8, 5), 0)
CLASS_TOKEN = Space((32, 32), prefix=1, has_class_token=True)
TOKENS = Layer(2, "tokens", "block", Shape((17, 6), CLASS_TOKEN.layout((17, 6))), 0)
VECTOR = Layer(3, "fc.input", "feature", (40,), 0)
LAYERS = (MAP, SWIN, TOKENS, VECTOR)


def reduced(layer: Layer, reduction: Reduction, features: torch.Tensor) -> torch.Tensor:
    """Through the planned steps, with the shape and text that were announced."""
    (stored, steps), *_ = [item for item in plan_reduction(LAYERS, reduction).items() if item[0].layer == layer]
    for step in steps:
        features = step(features)
    assert features.shape[1:] == stored.shape and bool(stored.reduction) == bool(steps)
    return features


def test_nothing_is_done_unasked() -> None:
    for stored, steps in plan_reduction(LAYERS, Reduction()).items():
        assert stored.shape == stored.layer.shape and not steps and stored.reduction == ""


@pytest.mark.parametrize("kind", ["avg", "max"])
def test_maps_are_pooled_over_their_own_axes(kind: str) -> None:
    features = torch.randn(3, 5, 8, 6)
    blocks = features.reshape(3, 5, 2, 4, 2, 3)
    expected = blocks.mean(dim=(3, 5)) if kind == "avg" else blocks.amax(dim=(3, 5))
    assert torch.allclose(reduced(MAP, Reduction(pool=f"{kind}:2"), features), expected, atol=1e-6)
    features = torch.randn(3, 8, 8, 5)
    blocks = features.reshape(3, 2, 4, 2, 4, 5)
    expected = blocks.mean(dim=(2, 4)) if kind == "avg" else blocks.amax(dim=(2, 4))
    assert torch.allclose(reduced(SWIN, Reduction(pool=f"{kind}:2"), features), expected, atol=1e-6)


def test_a_map_that_is_small_enough_stays() -> None:
    stored = list(plan_reduction(LAYERS, Reduction(pool="avg:7")))
    assert [each.shape for each in stored] == [(5, 7, 6), (7, 7, 5), (17, 6), (40,)]
    assert [each.reduction for each in stored] == ["avg:7x6", "avg:7x7", "", ""]


def test_tokens_of_parts_of_an_image_are_no_map() -> None:
    """MobileViT's blocks put out (parts, tokens, channels)."""
    parts = Layer(0, "parts", "block", (4, 256, 144), 0, folded=True)
    pooled, alone = Reduction(pool="avg:4"), Layer(0, "map", "block", (4, 256, 144), 0)
    assert [each.shape for each in plan_reduction([parts, MAP], pooled)] == [(4, 256, 144), (5, 4, 4)]
    assert [each.shape for each in plan_reduction([alone], pooled)] == [(4, 4, 4)]
    with pytest.raises(LayerprobeError, match="--pool avg:4: none of the layers is a map"):
        plan_reduction([parts], pooled)


def test_huge_maps_are_averaged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reduce, "LARGEST_DIMENSION", 5 * 4 * 4)
    stored = list(plan_reduction(LAYERS, Reduction()))
    assert [each.shape for each in stored] == [(5, 4, 4), (4, 4, 5), (17, 6), (40,)]


def test_tokens() -> None:
    features = torch.randn(3, 17, 6)
    assert torch.equal(reduced(TOKENS, Reduction(tokens="cls"), features), features[:, 0])
    assert torch.allclose(reduced(TOKENS, Reduction(tokens="mean"), features), features[:, 1:].mean(dim=1))
    no_class = plan_reduction([Layer(2, "tokens", "block", (17, 6), 0)], Reduction(tokens="mean"))
    assert torch.allclose(next(iter(no_class.values()))[0](features), features.mean(dim=1))


def test_a_lone_class_token_is_itself() -> None:
    """The last blocks of CaiT put out the class token alone."""
    layer = Layer(0, "class_block", "block", Shape((1, 6), CLASS_TOKEN.layout((1, 6))), 0)
    features = torch.randn(3, 1, 6)
    for kind in ("cls", "mean"):
        ((stored, (step,)),) = plan_reduction([layer], Reduction(tokens=kind)).items()
        assert stored.shape == (6,) and torch.equal(step(features), features[:, 0])


def test_what_fits_no_layer_is_refused() -> None:
    patches = Layer(0, "patches", "block", (16, 6), 0)
    with pytest.raises(LayerprobeError, match=r"--tokens cls: layer 'patches' \(16 tokens\) has no class token"):
        plan_reduction([patches], Reduction(tokens="cls"))
    with pytest.raises(LayerprobeError, match="--tokens mean: none of the layers has tokens"):
        plan_reduction([MAP, VECTOR], Reduction(tokens="mean"))
    with pytest.raises(LayerprobeError, match="--pool avg:4: none of the layers is a map"):
        plan_reduction([TOKENS], Reduction(pool="avg:4"))


def test_projection_follows_the_documented_law() -> None:
    """Squared lengths are kept on average, with the variance of Li, Hastie and Church (KDD 2006, lemma 4)."""
    dimension, target, draws = 400, 20, 400
    x = torch.from_numpy(np.random.default_rng(0).normal(size=(1, dimension)).astype(np.float32))
    ratios = np.array([float(Project(target, seed, 0)(x).square().sum() / x.square().sum()) for seed in range(draws)])
    s = math.sqrt(dimension)
    kurtosis = float((x**4).sum() / x.square().sum() ** 2)
    variance = (2 + (s - 3) * kurtosis) / target
    assert abs(ratios.mean() - 1) < 4 * math.sqrt(variance / draws)
    assert ratios.var() == pytest.approx(variance, rel=0.35)


def test_projection_is_seeded_by_run_and_layer() -> None:
    matrices = [Project(8, seed, layer).matrix(64).to_dense() for seed, layer in ((0, 0), (0, 0), (1, 0), (0, 1))]
    assert torch.equal(matrices[0], matrices[1])
    assert not torch.equal(matrices[0], matrices[2]) and not torch.equal(matrices[0], matrices[3])
    features = torch.randn(3, 4, 4, 4)
    assert torch.allclose(Project(8, 0, 0)(features), features.flatten(1) @ matrices[0].T, atol=1e-5)


def test_projection_is_in_full_precision_where_the_network_is_not() -> None:
    features = torch.randn(3, 64).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        projected = Project(8, 0, 0)(features)
    assert projected.dtype == torch.float32 and torch.equal(projected, Project(8, 0, 0)(features.float()))


def test_only_larger_layers_are_projected_after_the_rest() -> None:
    stored = list(plan_reduction(LAYERS, Reduction(pool="avg:4", tokens="mean", project=40, seed=3)))
    assert [each.shape for each in stored] == [(40,), (40,), (6,), (40,)]
    assert stored[0].reduction == "avg:4x4; sparse-projection:40 seed 3" and stored[3].reduction == ""
