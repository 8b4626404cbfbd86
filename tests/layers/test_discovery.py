"""The generalized layers of a network."""

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from layerprobe.errors import LayerprobeError
from layerprobe.layers.discovery import discover_layers
from layerprobe.layers.taps import Tap
from layerprobe.models.zoo import build_model


@pytest.mark.parametrize(
    ("name", "activations", "blocks", "features"),
    [
        ("vgg19", 18, 0, 1),
        ("vgg11", 10, 0, 1),
        ("resnet34", 1, 16, 1),
        ("mobilenet_v2", 2, 17, 1),
        ("vit_b_16", 0, 12, 1),
    ],
)
def test_torchvision_layers(name: str, activations: int, blocks: int, features: int) -> None:
    layers = discover_layers(torchvision.models.get_model(name, weights=None), (224, 224))
    kinds = [layer.kind for layer in layers]
    assert [kinds.count(kind) for kind in ("activation", "block", "feature")] == [activations, blocks, features]
    assert [layer.index for layer in layers] == list(range(len(layers)))


def test_vgg19_order() -> None:
    kinds = [layer.kind for layer in discover_layers(torchvision.models.vgg19(weights=None), (224, 224))]
    assert kinds == ["activation"] * 16 + ["feature"] + ["activation"] * 2


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("cifar:resnet56", 29),
        ("cifar:resnet20", 11),
        ("cifar:resnet34", 18),
        ("cifar:resnet9", 6),
        ("cifar:vgg19", 19),
        ("cifar:vgg11", 11),
        ("cifar:mobilenetv2", 20),
        ("cifar:vit-small", 9),
        ("cifar:vit-small-mean", 9),
        ("cifar:vit-base", 13),
        ("cifar:resnet9-paper", 6),
        ("cifar:resnet34-paper", 18),
        ("cifar:vgg11-paper", 11),
        ("cifar:vgg19-paper", 19),
        ("cifar:mobilenetv2-paper", 20),
    ],
)
def test_cifar_layers(name: str, count: int) -> None:
    assert len(discover_layers(build_model(name, num_classes=10, image_size=32, seed=0), (32, 32))) == count


@pytest.mark.parametrize(("name", "count"), [("resnet9-paper", 6), ("vgg11-paper", 11), ("mobilenetv2-paper", 20)])
def test_networks_of_the_paper_have_the_same_layers_at_64_pixels(name: str, count: int) -> None:
    assert len(discover_layers(build_model(f"cifar:{name}", num_classes=10, image_size=64, seed=0), (64, 64))) == count


def test_resnet56_names_shapes_and_parameters() -> None:
    model = build_model("cifar:resnet56", num_classes=10, seed=0)
    layers = discover_layers(model, (32, 32))
    assert [layer.name for layer in layers[:2]] == ["relu", "layer1.0"]
    assert (layers[25].name, layers[25].shape) == ("layer3.6", (64, 8, 8))
    assert (layers[-1].name, layers[-1].shape) == ("linear.input", (64,))
    total = sum(parameter.numel() for parameter in model.parameters())
    assert layers[-1].parameters == total - (64 * 10 + 10)
    assert layers[0].parameters == 3 * 16 * 9 + 2 * 16


@pytest.mark.parametrize(
    ("name", "blocks"), [("swin_tiny_patch4_window7_224", 12), ("convnext_atto", 12), ("mixer_s32_224", 8)]
)
def test_timm_blocks(name: str, blocks: int) -> None:
    layers = discover_layers(timm.create_model(name), (224, 224))
    assert [layer.kind for layer in layers].count("block") == blocks
    assert layers[-1].kind == "feature"


class Twice(nn.Module):
    """Calls one activation twice, and classifies a pooled vector."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)
        self.act = nn.ReLU(inplace=True)
        self.head = nn.Linear(5, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.first(x))
        x = self.act(self.second(x))
        return self.head(x.mean(dim=(2, 3)))


def test_a_module_called_twice_is_two_layers() -> None:
    layers = discover_layers(Twice(), (8, 8))
    assert [(layer.name, layer.shape) for layer in layers] == [
        ("act", (4, 6, 6)),
        ("act@2", (5, 4, 4)),
        ("head.input", (5,)),
    ]


def test_a_position_embedding_is_no_residual_connection() -> None:
    class Embedded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.position = nn.Parameter(torch.zeros(1, 3, 8, 8))
            self.act, self.head = nn.GELU(), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.act(x + self.position).mean(dim=(2, 3)))

    wrapped = nn.Sequential(Embedded())
    assert [layer.name for layer in discover_layers(wrapped, (8, 8))] == ["0.act", "0.head.input"]


def test_a_fused_transformer_layer_is_a_block() -> None:
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(12, 2, 24, batch_first=True), num_layers=3, enable_nested_tensor=False
    )
    model = nn.Sequential(nn.Conv2d(3, 12, 4, 4), nn.Flatten(2), Swap(), encoder, FirstToken(), nn.Linear(12, 2))
    layers = discover_layers(model, (8, 8))
    assert [layer.kind for layer in layers] == ["block"] * 3 + ["feature"]


class Swap(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


class FirstToken(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x[:, 0]


def test_a_perceptron_ends_with_the_input_of_its_last_linear_layer() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.ReLU(), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2))
    assert [layer.name for layer in discover_layers(model, (4, 4))] == ["2", "4", "5.input"]


def test_discovery_leaves_the_model_as_it_was() -> None:
    model = build_model("cifar:resnet20", seed=0).train()
    model.layer1.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    discover_layers(model, (32, 32))
    assert model.training and not model.layer1.training and model.layer2.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_an_image_size_that_does_not_fit_is_refused() -> None:
    with pytest.raises(LayerprobeError, match=r"can't take 8x8-pixel images: .*data.image_size"):
        discover_layers(torchvision.models.vgg11(weights=None), (8, 8))


def test_a_model_without_layers_is_refused() -> None:
    with pytest.raises(LayerprobeError, match=r"no residual or transformer block, no non-linearity and no linear"):
        discover_layers(nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()), (8, 8))


@pytest.mark.parametrize(
    "name", ["layer3.6", "act@2", "fc.input", "input", "head.fc.input@3", "F.relu", "features.F.gelu@2"]
)
def test_tap_names_read_back(name: str) -> None:
    assert Tap.of(name).name == name
