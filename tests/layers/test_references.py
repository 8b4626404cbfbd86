"""Captured tensors against independent references: torchvision's graph extractor, timm's intermediates, by hand."""

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

from layerprobe.layers.capture import Capture
from layerprobe.layers.discovery import discover_layers


def captured(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Every layer on the third pass of three, after the capture has learnt which copies it needs."""
    layers = discover_layers(model, tuple(images.shape[2:]))
    with torch.no_grad(), Capture(model, [layer.name for layer in layers]) as capture:
        for batch in (images.flip(0), torch.randn_like(images)):
            capture(batch)
        features = capture(images).features
    for layer in layers:
        assert features[layer.name].shape == (len(images), *layer.shape), layer
    return dict(features)


@pytest.mark.parametrize(
    ("name", "size", "least"),
    [
        ("alexnet", 64, 8),
        ("convnext_tiny", 32, 19),
        ("densenet121", 32, 121),
        ("efficientnet_b0", 32, 19),
        ("googlenet", 64, 58),
        ("maxvit_t", 224, 30),
        ("mnasnet0_5", 32, 20),
        ("mobilenet_v2", 32, 20),
        ("mobilenet_v3_small", 32, 15),
        ("regnet_y_400mf", 32, 18),
        ("resnet18", 32, 10),
        ("shufflenet_v2_x0_5", 32, 38),
        ("squeezenet1_1", 64, 26),
        ("swin_t", 32, 13),
        ("vgg11_bn", 32, 11),
        ("vit_b_32", 224, 12),
    ],
)
def test_against_torchvisions_graph(name: str, size: int, least: int) -> None:
    """Every layer that is a module's output or a classifier's input, in-place activations included."""
    options = {"init_weights": True, "aux_logits": False} if name == "googlenet" else {}
    model = torchvision.models.get_model(name, weights=None, **options).eval()
    images = torch.randn(2, 3, size, size)
    ours = captured(model, images)
    assert len(ours) >= least
    outputs = [layer for layer in ours if not layer.endswith(".input")]
    names = get_graph_node_names(model)[1]
    reference = create_feature_extractor(model, {node(model, layer, names): layer for layer in outputs})
    with torch.no_grad():
        expected = reference(images)
    for layer in outputs:
        assert torch.equal(ours[layer], expected[layer]), layer
    for layer in set(ours) - set(outputs):
        head = model.get_submodule(layer.removesuffix(".input"))
        output = functional.linear(ours[layer], head.weight, head.bias)
        assert any(torch.equal(output, value) for value in outputs_of(model, head, images)), layer


def node(model: nn.Module, layer: str, names: list[str]) -> str:
    """The graph's name of a layer: functions are nodes of their own, torchvision's ``ops`` are not looked into."""
    name = layer.replace("F.", "")
    if any(known == name or known.startswith(f"{name}.") for known in names):
        return name
    parent, _, last = name.rpartition(".")
    assert next(reversed(model.get_submodule(parent)._modules)) == last
    return parent


def outputs_of(model: nn.Module, module: nn.Module, images: Tensor) -> list[Tensor]:
    seen: list[Tensor] = []
    handle = module.register_forward_hook(lambda _, __, output: seen.append(output.clone()))
    with torch.no_grad():
        model(images)
    handle.remove()
    return seen


@pytest.mark.parametrize(
    ("name", "size", "layers"),
    [
        ("test_vit", 32, [f"blocks.{i}" for i in range(6)]),
        ("deit_tiny_distilled_patch16_224", 32, [f"blocks.{i}" for i in range(12)]),
        ("swin_tiny_patch4_window7_224", 32, [f"layers.{i}.blocks.{n}" for i, n in enumerate((1, 1, 5, 1))]),
        ("test_convnext", 32, ["stages.0.blocks.0", "stages.1.blocks.1", "stages.2.blocks.3", "stages.3.blocks.1"]),
        ("gmixer_12_224", 224, [f"blocks.{i}" for i in range(12)]),
        ("test_resnet", 32, ["act1", "layer1.0", "layer2.0", "layer3.0", "layer4.0"]),
        ("poolformerv2_s12", 32, [f"stages.{i}.blocks.{n}" for i, n in enumerate((1, 1, 5, 1))]),
        ("mvitv2_tiny", 32, [f"stages.{i}.blocks.{n}" for i, n in enumerate((0, 1, 4, 1))]),
    ],
)
def test_against_timms_intermediates(name: str, size: int, layers: list[str]) -> None:
    sized = {"img_size": size} if size == 32 and name.startswith(("test_vit", "deit", "swin", "mvit")) else {}
    model = timm.create_model(name, **sized).eval()
    images = torch.randn(2, 3, size, size)
    ours = captured(model, images)
    with torch.no_grad():
        expected = model.forward_intermediates(images, intermediates_only=True, norm=False)
    assert len(expected) == len(layers)
    prefix = getattr(model, "num_prefix_tokens", 0)
    for layer, reference in zip(layers, expected, strict=True):
        values = ours[layer]
        if values.ndim == 3:
            values = values[:, prefix:].transpose(1, 2).reshape(reference.shape)
        elif name.startswith("swin"):
            values = values.permute(0, 3, 1, 2)
        assert torch.equal(values, reference), layer


class HomeMade(nn.Module):
    """What people write: functions, in place and not, one module twice, a tuple and a dictionary in between."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.unit = Unit()
        self.act = nn.ReLU(inplace=True)
        self.fc = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.conv1(x))
        x = functional.relu(self.conv2(x), inplace=True).mul_(2)
        x = self.act(self.unit(x)["map"][0])
        x = self.act(x.sub_(0.1))
        return self.fc(torch.tanh(x.mean(dim=(2, 3))))


class Unit(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = Basic()

    def forward(self, x: Tensor) -> dict[str, tuple[Tensor, int]]:
        return {"map": (functional.gelu(self.conv(x)) - 0.2, 1)}


class Basic(nn.Module):
    """As in torchvision's GoogLeNet: the function's result is what the module returns."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(6, 6, 1)

    def forward(self, x: Tensor) -> Tensor:
        return functional.silu(self.conv(x), inplace=True)


def test_a_home_made_network_by_hand() -> None:
    model, images = HomeMade().eval(), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        first = model.conv1(images).clamp(min=0)
        second = model.conv2(first).clamp(min=0)
        basic = functional.silu(model.unit.conv.conv(2 * second))
        gelu = functional.gelu(basic)
        act = (gelu - 0.2).clamp(min=0)
        again = (act - 0.1).clamp(min=0)
        feature = torch.tanh(again.mean(dim=(2, 3)))
    expected = {
        "F.relu": first, "F.relu@2": second, "unit.conv": basic, "unit.F.gelu": gelu, "act": act, "act@2": again,
        "F.tanh": feature, "fc.input": feature,
    }  # fmt: skip
    ours = captured(model, images)
    assert list(ours) == list(expected)
    for layer, values in expected.items():
        assert torch.equal(ours[layer], values), layer


def test_blocks_that_work_on_parts_of_images_give_one_row_per_image() -> None:
    """MobileViT's transformer blocks see (images * parts, tokens, channels)."""
    model = timm.create_model("mobilevit_xxs").eval()
    images = torch.randn(3, 3, 64, 64)
    ours = captured(model, images)
    name = "stages.2.1.transformer.0"
    alone = [captured(model, image[None].repeat(2, 1, 1, 1))[name][0] for image in images]
    assert ours[name].shape[:2] == (3, 4)
    assert torch.allclose(ours[name], torch.stack(alone), atol=1e-5)
    folded = [layer.name for layer in discover_layers(model, (64, 64)) if layer.folded]
    assert name in folded and all(".transformer." in layer for layer in folded)
