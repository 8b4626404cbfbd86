"""Some of the images of a Gram matrix are as good as features of those images alone."""

import numpy as np
import pytest
import torch

from layerprobe.geometry.gram import gram_matrix, products, sub_gram
from layerprobe.geometry.measure import measure
from layerprobe.geometry.sizes import scores_at_sizes
from tests.geometry.test_statistics import clouds


def test_products_are_those_of_the_features() -> None:
    features, labels = clouds(20, 7, 3, offset=2.0)
    gram = gram_matrix([torch.from_numpy(features)], torch.from_numpy(labels), 100)
    assert np.allclose(products(gram), features.astype("f8") @ features.astype("f8").T, rtol=1e-5)


def test_a_part_is_centred_on_its_own_mean() -> None:
    features, labels = clouds(40, 12, 3, offset=2.0)
    rows = torch.tensor([3, 0, 17, 21, 22, 39, 38])
    tensor, classes = torch.from_numpy(features), torch.from_numpy(labels)
    part = sub_gram(gram_matrix([tensor], classes, 100), rows)
    alone = gram_matrix([tensor[rows]], classes[rows], 100)
    for name in ("centred", "mean_products", "squared_norms", "labels"):
        assert torch.allclose(getattr(part, name), getattr(alone, name), rtol=1e-5, atol=1e-5), name
    assert part.mean_square == pytest.approx(alone.mean_square, rel=1e-5)
    assert (part.dimension, part.population) == (12, 100)


def test_scores_at_sizes() -> None:
    labels = torch.arange(60) % 3
    features = torch.randn(60, 9, generator=torch.Generator().manual_seed(0)) + labels[:, None]
    gram = gram_matrix([features], labels, 600)
    found = scores_at_sizes(gram, (4, 10, 20), seed=1)
    whole = measure(gram)
    assert len(found) == 7
    for name in found:
        assert found[name].shape == (3, 5)
        assert torch.allclose(found[name][2], torch.tensor(whole[name], dtype=torch.float64), rtol=1e-6)
    assert found["quality"][0].std() > found["quality"][1].std() > 0
    assert torch.equal(found["quality"], scores_at_sizes(gram, (4, 10, 20), seed=1)["quality"])
    assert (found["information"].mean(dim=1).diff() > 0).all()
    for sizes in ((1,), (21,)):
        with pytest.raises(ValueError, match="of classes with 20 images"):
            scores_at_sizes(gram, sizes)
