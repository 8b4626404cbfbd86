"""Networks that are cut at a layer: what is behind it, and another end in its place."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from layerprobe.errors import LayerprobeError
from layerprobe.layers.capture import Capture
from layerprobe.layers.cutting import cut_behind, with_other_end
from layerprobe.models.zoo import build_model

CASES = [
    ("cifar:resnet20", "layer2.1", 32),
    ("cifar:resnet34", "layer4.2", 32),
    ("cifar:resnet34", "fc.input", 32),
    ("cifar:vgg19", "features.51", 32),
    ("cifar:mobilenetv2", "features.6", 32),
    ("cifar:vit-small", "encoder.layers.encoder_layer_6", 32),
    ("cifar:vit-small-mean", "encoder.layers.encoder_layer_6", 32),
    ("torchvision:densenet121", "features.denseblock2", 64),
    ("timm:resnet18", "layer3.0", 64),
    ("timm:convnext_atto", "stages.2.blocks.1", 64),
]


@pytest.mark.parametrize(("name", "layer", "size"), CASES)
def test_what_is_behind_a_layer_does_what_the_network_does_there(name: str, layer: str, size: int) -> None:
    network = build_model(name, num_classes=7, image_size=size, seed=0).eval()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    behind = cut_behind(network, layer)
    with Capture(network, [layer]) as capture, torch.no_grad():
        captured = capture(torch.randn(3, 3, size, size))
        found = behind(captured.features[layer])
    assert torch.equal(found, captured.logits)
    own = behind.state_dict()
    assert own and all(torch.equal(value, before[key]) for key, value in own.items())
    for parameter in behind.parameters():
        with torch.no_grad():
            parameter.zero_()
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert not network.training and not any(module.training for module in network.modules())


@pytest.mark.parametrize(("name", "layer", "size"), CASES)
def test_another_end_takes_what_the_layer_gives(name: str, layer: str, size: int) -> None:
    network = build_model(name, num_classes=7, image_size=size, seed=0).eval()
    images = torch.randn(3, 3, size, size)
    with Capture(network, [layer]) as capture, torch.no_grad():
        given = capture(images).features[layer]
    names = set(network.state_dict())
    torch.manual_seed(0)
    end = nn.Sequential(nn.Flatten(), nn.Linear(given[0].numel(), 4))
    changed = with_other_end(network, layer, {"between": nn.Hardtanh(-1e9, 1e9), "end": end})
    with torch.no_grad():
        assert torch.equal(changed(images), end(given))
    kept = {key for key in changed.state_dict() if not key.startswith("end.")}
    assert kept < names and kept  # what was behind the layer is gone, and the rest has its names


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.act, self.second = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3)
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.second(self.act(self.first(x))))
        return self.head(x.mean(dim=(2, 3)))


def test_a_module_that_is_called_twice() -> None:
    network, images = Small().eval(), torch.randn(2, 3, 8, 8)
    with Capture(network, ["act", "act@2"]) as capture, torch.no_grad():
        captured = capture(images)
        for layer, features in captured.features.items():
            assert torch.equal(cut_behind(network, layer)(features), captured.logits)
    assert "second.weight" in cut_behind(network, "act").state_dict()
    assert "second.weight" not in cut_behind(network, "act@2").state_dict()


class Bypass(Small):
    def forward(self, x: Tensor) -> Tensor:
        early = self.act(self.first(x))
        return self.head((early[:, :, 1:-1, 1:-1] + self.second(early)).mean(dim=(2, 3)))


class Modes(Small):
    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.first(x))
        return self.head((self.second(x) if self.training else x).mean(dim=(2, 3)))


class Branching(Small):
    def forward(self, x: Tensor) -> Tensor:
        x = self.second(self.act(self.first(x)))
        return self.head(x.mean(dim=(2, 3)) if x.sum() > 0 else x.amax(dim=(2, 3)))


class Functional(Small):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(relu(self.first(x)).mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("network", "layer", "message"),
    [
        (Bypass(), "second", "a connection bypasses 'second'"),
        (Modes(), "act", "a module around 'act' does something else in training"),
        (Branching(), "second", "the forward pass around 'second' can't be traced: symbolically traced variables"),
        (Functional(), "F.relu", "'F.relu' is what a function gives, and no module's output"),
        (Functional(), "act", "no module calls 'act' where a trace can see it"),
    ],
    ids=lambda one: type(one).__name__ if isinstance(one, nn.Module) else "",
)
def test_what_cannot_be_cut_is_refused_with_the_reason(network: nn.Module, layer: str, message: str) -> None:
    with pytest.raises(LayerprobeError, match=message) as error:
        cut_behind(network, layer)
    assert "\n" not in str(error.value)
    assert network.training and all(module.training for module in network.modules())


def test_a_connection_around_a_layer_is_no_matter_where_the_end_is_replaced() -> None:
    network, images = Bypass().eval(), torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        expected = network.second(network.act(network.first(images)))
        assert torch.equal(with_other_end(network, "second", {"same": nn.Identity()})(images), expected)
    with pytest.raises(LayerprobeError, match="the network has 'head' already"):
        with_other_end(Bypass(), "second", {"head": nn.Identity()})
