"""Lazy modules take their shapes from a first image."""

import pytest
import torch
from torch import Tensor, nn

from layerprobe.errors import LayerprobeError
from layerprobe.layers.discovery import discover_layers
from layerprobe.models.lazy import initialize_lazy_modules
from layerprobe.models.weights import hash_weights

pytestmark = pytest.mark.filterwarnings("ignore:Lazy modules are a new feature:UserWarning")


def lazy() -> nn.Sequential:
    return nn.Sequential(
        nn.LazyConv2d(8, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Dropout(), nn.Flatten(), nn.LazyLinear(10)
    )


def test_they_become_what_they_would_have_become() -> None:
    model = lazy().train()
    model[1].eval()
    state = torch.get_rng_state()
    initialize_lazy_modules(model, (8, 6), seed=3)
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training and model[3].training and not model[1].training
    assert model[0].weight.shape == (8, 3, 3, 3) and model[5].weight.shape == (10, 8 * 6 * 4)
    assert torch.equal(model[1].running_mean, torch.zeros(8)) and not model[1].num_batches_tracked
    assert [layer.name for layer in discover_layers(model, (8, 6))] == ["2", "5.input"]


def test_the_seed_decides_the_initial_weights() -> None:
    hashes = []
    for seed in (0, 0, 1):
        model = lazy()
        initialize_lazy_modules(model, (8, 8), seed)
        hashes.append(hash_weights(model))
    assert hashes[0] == hashes[1] != hashes[2]


def test_other_models_are_not_run() -> None:
    class Never(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            raise AssertionError

    initialize_lazy_modules(Never(), (8, 8), seed=0)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            lambda: nn.Sequential(nn.LazyConv2d(8, 3), nn.Conv2d(7, 2, 1)),
            r"shapes from a first image, and fails on one of 8x8 pixels: .*it takes with data.image_size$",
        ),
        (lambda: Unused(), r"lazy module 'unused' is not reached by a forward pass, and so has no shape"),
    ],
)
def test_shapes_that_no_image_tells_are_refused(model: object, message: str) -> None:
    with pytest.raises(LayerprobeError, match=message):
        initialize_lazy_modules(model(), (8, 8), seed=0)


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.LazyConv2d(2, 1), nn.LazyLinear(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)
