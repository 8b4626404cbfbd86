"""Captured tensors are what each layer put out."""

import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.feature_extraction import create_feature_extractor

from layerprobe.layers.capture import Capture


class InPlace(nn.Module):
    """Every trap: in-place activations, a module called twice, a sum in place, a dict in between."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.act = nn.ReLU(inplace=True)
        self.wrap = Wrap()
        self.head = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x))
        z = self.act(y)
        z += 1
        z = self.act(self.wrap(z)["deep"][0].sub_(2))
        return self.head(z.mean(dim=(2, 3)))


class Wrap(nn.Module):
    def forward(self, x: Tensor) -> dict[str, tuple[Tensor, str]]:
        return {"deep": (2 * x, "other")}


NAMES = ["norm", "act", "wrap", "act@2", "head.input"]


def by_hand(model: InPlace, x: Tensor) -> dict[str, Tensor]:
    norm = model.norm(model.conv(x))
    act = norm.relu()
    wrap = 2 * (act + 1)
    again = (wrap - 2).relu()
    return dict(zip(NAMES, (norm, act, wrap, again, again.mean(dim=(2, 3))), strict=True))


def test_in_place_operations_do_not_reach_captured_tensors() -> None:
    model = InPlace().eval()
    with torch.no_grad(), Capture(model, NAMES) as capture:
        for _ in range(3):  # the first pass learns which layers need a copy
            x = torch.randn(5, 3, 6, 6)
            captured = capture(x)
            expected = by_hand(model, x)
            for name in NAMES:
                assert torch.equal(captured.features[name], expected[name]), name
            assert torch.equal(captured.logits, model(x))


def test_a_dropout_in_place_overwrites_in_training_alone() -> None:
    """What a pass in evaluation mode learns of copies is not what training needs."""
    model = nn.Sequential(nn.Linear(3, 50), nn.Sigmoid(), nn.Dropout(0.5, inplace=True), nn.Linear(50, 2))
    with torch.no_grad(), Capture(model, ["1"]) as capture:
        for training in (False, True, True, False, True):
            x = torch.randn(5, 3)
            model.train(training)
            assert torch.equal(capture(x).features["1"], model[1](model[0](x))), training


def test_against_torchvisions_extractor() -> None:
    model = torchvision.models.resnet18(weights=None).eval()
    names = ["relu", "layer1.0", "layer2.1", "layer4.1"]
    reference = create_feature_extractor(model, [*names, "flatten"])
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad(), Capture(model, [*names, "fc.input"]) as capture:
        captured, expected = capture(x).features, reference(x)
    for name in names:
        assert torch.equal(captured[name], expected[name]), name
    assert torch.equal(captured["fc.input"], expected["flatten"])


def test_the_gate_stops_gradients_and_changes_no_value() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 2))
    x = torch.randn(5, 3)
    with Capture(model, ["1"], gate="1") as capture:
        for _ in range(2):
            captured = capture(x)
            model.zero_grad()
            captured.logits.sum().backward()
            assert model[0].weight.grad is None
            assert model[2].weight.grad is not None
            captured.features["1"].sum().backward()
            assert model[0].weight.grad is not None
    assert torch.equal(captured.logits, model(x))


def test_the_gate_on_a_module_input() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    with Capture(model, ["2.input"], gate="2.input") as capture:
        capture(torch.randn(5, 3)).logits.sum().backward()
    assert model[0].weight.grad is None and model[2].weight.grad is not None


def test_hooks_are_taken_off() -> None:
    model = InPlace()
    with Capture(model, NAMES):
        assert any(module._forward_hooks for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


class Functional(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.relu(torch.relu(self.first(x)) - 0.1))


def test_the_gate_on_a_function() -> None:
    model, x = Functional(), torch.randn(5, 3)
    with Capture(model, ["F.relu", "F.relu@2"], gate="F.relu@2") as capture:
        captured = capture(x)
        captured.logits.sum().backward()
        assert model.first.weight.grad is None and model.second.weight.grad is not None
        captured.features["F.relu@2"].sum().backward()
        assert model.first.weight.grad is not None
    assert torch.equal(captured.logits, model(x))
    assert torch.equal(captured.features["F.relu"], model.first(x).relu())


def test_what_is_kept_is_made_at_once() -> None:
    """A smaller copy needs no second one; the tensor itself, where it is kept, is still protected."""
    model = InPlace().eval()
    x = torch.randn(5, 3, 6, 6)
    for keep in (lambda _, tensor: tensor.double(), lambda _, tensor: tensor, lambda _, tensor: tensor[:, :2]):
        with torch.no_grad(), Capture(model, NAMES, keep=keep) as capture:
            for _ in range(3):
                kept = capture(x).features
        for name, values in by_hand(model, x).items():
            assert torch.equal(kept[name], keep(name, values)), name
