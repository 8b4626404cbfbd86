"""Which tensor of a model's output holds the logits."""

from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from layerprobe.errors import LayerprobeError
from layerprobe.layers.capture import Capture
from layerprobe.layers.discovery import discover, discover_layers
from layerprobe.layers.ending import find_ending
from layerprobe.layers.logits import classify
from layerprobe.layers.tracing import watch

LAYERS = ["act", "fc.input"]


@dataclass
class Output:
    """As transformers' ``ModelOutput``."""

    features: Tensor
    logits: Tensor
    loss: Tensor | None = None


Pair = namedtuple("Pair", ["features", "logits"])
Unnamed = namedtuple("Unnamed", ["first", "second"])


class Net(nn.Module):
    """A small classifier that returns what ``pack`` makes of its features and logits."""

    def __init__(self, pack: Callable[[Tensor, Tensor], Any]) -> None:
        super().__init__()
        self.conv, self.norm, self.act = nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU()
        self.drop, self.fc = nn.Dropout(0.5), nn.Linear(16, 10)
        self.pack = pack

    def features(self, x: Tensor) -> Tensor:
        return self.act(self.norm(self.conv(x))).mean((2, 3))

    def forward(self, x: Tensor) -> Any:
        features = self.features(x)
        return self.pack(features, self.fc(self.drop(features)))

    def expected(self, x: Tensor) -> Tensor:
        return self.fc(self.features(x))


PACKS: dict[str, Callable[[Tensor, Tensor], Any]] = {
    "alone": lambda features, logits: logits,
    "pair": lambda features, logits: (features, logits),
    "pair, logits first": lambda features, logits: (logits, features),
    "list": lambda features, logits: [features, logits],
    "dictionary": lambda features, logits: {"features": features, "logits": logits},
    "dictionary of other names": lambda features, logits: {"x": features, "out": logits},
    "nested": lambda features, logits: {"backbone": (features,), "head": {"logits": logits}},
    "named tuple": Pair,
    "named tuple of other names": Unnamed,
    "dataclass": Output,
    "any object": lambda features, logits: SimpleNamespace(features=features, logits=logits),
    "maps and logits": lambda features, logits: (features[:, :, None, None], logits),
    "normalized features": lambda features, logits: (nn.functional.normalize(features), {"logits": logits}),
    "with a number and nothing": lambda features, logits: (None, 3, features, logits),
    "with whole numbers": lambda features, logits: (logits.argsort(), logits),
}


@pytest.mark.parametrize("pack", PACKS.values(), ids=PACKS)
@pytest.mark.parametrize("training", [False, True])
def test_the_logits_are_found(pack: Callable[[Tensor, Tensor], Any], training: bool) -> None:
    model = Net(pack)
    model.drop.p = 0.0
    images = torch.randn(5, 3, 8, 8)
    found = discover(model.eval(), (8, 8))
    assert [layer.name for layer in found.layers] == LAYERS and found.returned == (2, 10)
    model.train(training)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with Capture(model, found.layers, gate="fc.input") as capture:
        for _ in range(2):
            model.load_state_dict(before)
            given = capture(images)
    model.load_state_dict(before)
    assert torch.equal(given.logits, classify(model, images))
    model.load_state_dict(before)
    assert torch.equal(given.logits, model.expected(images))
    assert torch.equal(given.features["fc.input"], model.features(images)) or training
    given.logits.sum().backward()
    assert model.conv.weight.grad is None and model.fc.weight.grad is not None


def test_without_discovery_they_are_found_in_a_pass_of_the_captures_own() -> None:
    """That pass leaves nothing behind: no features, statistics, random numbers or gradients."""
    model = Net(PACKS["pair"]).train()
    images, buffers = torch.randn(5, 3, 8, 8), {name: value.clone() for name, value in model.named_buffers()}
    torch.manual_seed(1)
    with Capture(model, LAYERS) as capture:
        given = capture(images)
    state = torch.get_rng_state()
    model.load_state_dict({**model.state_dict(), **buffers})
    torch.manual_seed(1)
    assert torch.equal(model(images)[1], given.logits) and torch.equal(torch.get_rng_state(), state)
    assert given.features["fc.input"].requires_grad and model.training


class Auxiliary(Net):
    """Returns a second classifier's logits while it trains, first of both, as GoogLeNets do."""

    def __init__(self, names: bool = False, always: bool = False) -> None:
        super().__init__(PACKS["alone"])
        self.aux = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
        self.always = always

    def forward(self, x: Tensor) -> Any:
        maps = self.act(self.norm(self.conv(x)))
        aux, logits = self.aux(maps), self.fc(maps.mean((2, 3)))
        return (aux, logits) if self.training or self.always else logits


def test_a_model_that_returns_more_in_training() -> None:
    """The logits are what the classifier gives that gives them in evaluation mode."""
    model, images = Auxiliary().train(), torch.randn(5, 3, 8, 8)
    with Capture(model, LAYERS) as capture:
        given = capture(images)
    assert torch.equal(given.logits, model(images)[1])
    assert torch.equal(classify(model.eval(), images), model(images))
    model.train()
    assert torch.equal(classify(model, images), model(images)[1])


def test_torchvisions_auxiliary_heads() -> None:
    model = torchvision.models.googlenet(init_weights=True, aux_logits=True, num_classes=7).train()
    images = torch.randn(2, 3, 64, 64)
    torch.manual_seed(0)
    given = classify(model, images)
    torch.manual_seed(0)
    assert given.shape == (2, 7) and torch.equal(given, model(images).logits)


def test_an_order_that_is_another_in_training() -> None:
    class Swapping(Net):
        def forward(self, x: Tensor) -> Any:
            features, logits = super().forward(x)
            return (features, logits) if self.training else (logits, features)

    model, images = Swapping(PACKS["pair"]), torch.randn(5, 3, 8, 8)
    model.drop.p = 0.0
    assert torch.equal(classify(model.eval(), images), model(images)[0])
    assert torch.equal(classify(model.train(), images), model(images)[1])


class Two(Net):
    """Two linear layers give something to return: an embedding, or another head's logits."""

    def __init__(self, columns: int = 10, reads: bool = False, cosine: bool = False) -> None:
        super().__init__(PACKS["alone"])
        self.other = nn.Linear(16, columns)
        self.reads, self.cosine = reads, cosine
        self.fc = nn.Linear(columns if reads else 16, 10)

    def forward(self, x: Tensor) -> Any:
        features = self.features(x)
        other = self.other(features)
        if self.cosine:
            return other, nn.functional.linear(nn.functional.normalize(other), torch.ones(10, other.shape[1]))
        return other, self.fc(other if self.reads else features)


@pytest.mark.parametrize(
    ("model", "found"),
    [
        (lambda: Two(), r"'0' \(2x10\), '1' \(2x10\)"),
        (lambda: Two(columns=7), r"'0' \(2x7\), '1' \(2x10\)"),
        (lambda: Two(columns=7, cosine=True), r"'0' \(2x7\), '1' \(2x10\)"),
        (lambda: Auxiliary(always=True), r"'0' \(2x10\), '1' \(2x10\)"),
        (lambda: Net(lambda f, x: {"a": {"logits": x}, "b": {"logits": 2 * x}}), r"'a.logits' \(2x10\), 'b.logits'"),
        (lambda: Net(lambda f, x: (x.softmax(1), x.log_softmax(1))), r"'0' \(2x10\), '1' \(2x10\)"),
    ],
)
def test_what_is_ambiguous_is_refused(model: Callable[[], nn.Module], found: str) -> None:
    message = f"returns its logits, but 2 tensors of the model's output could be those: {found}.*; return the logits"
    with pytest.raises(LayerprobeError, match=message):
        discover_layers(model(), (8, 8))
    with pytest.raises(LayerprobeError, match=message.replace("2x", "5x")), Capture(model().eval(), ["act"]) as capture:
        capture(torch.randn(5, 3, 8, 8))


def test_an_embedding_that_the_classifier_reads_is_none() -> None:
    model, images = Two(columns=7, reads=True).eval(), torch.randn(5, 3, 8, 8)
    assert [layer.name for layer in discover_layers(model, (8, 8))] == ["act", "other.input"]
    assert torch.equal(classify(model, images), model(images)[1])


def test_a_model_without_tensors_is_refused() -> None:
    model = Net(lambda features, logits: {"logits": None})
    with pytest.raises(LayerprobeError, match=r"returned no tensor \(dict\); return a tensor, or a dictionary with"):
        classify(model, torch.randn(5, 3, 8, 8))


def test_the_answer_is_one_for_batches_of_every_size() -> None:
    """Also where a tensor has as many rows as a batch has images: six prototypes, say."""
    prototypes = torch.randn(6, 4)
    model = Net(lambda features, logits: (prototypes, logits)).eval()
    for images in (torch.randn(count, 3, 8, 8) for count in (5, 6, 1)):
        assert torch.equal(classify(model, images), model(images)[1])


def test_maps_alone_have_no_classifier() -> None:
    """A backbone that returns a list of maps has layers, and no logits (batch, classes)."""
    found = discover(Net(lambda features, logits: [features[:, :, None, None], features[:, :, None]]), (8, 8))
    assert [layer.name for layer in found.layers] == ["act", "output"] and found.returned == (2, 16, 1, 1)
    assert found.layers[-1].shape == (16, 1, 1) and not found.has_classifier


@pytest.mark.parametrize("pack", ["pair", "dataclass"])
def test_the_ending_of_a_model_that_returns_more(pack: str) -> None:
    ending = find_ending(Net(PACKS[pack]).eval(), (8, 8))
    assert (ending.classifier, ending.last_map, ending.shape) == ("fc", "act", (16, 4, 4))


def test_a_watched_pass_of_a_compiled_module_runs_as_it_was_written() -> None:
    """Training compiles its networks in place, after their layers were found."""
    model = Net(PACKS["pair"]).eval()
    model.compile(backend="eager")
    compiled = model._compiled_call_impl
    assert [call.tap.module for call in watch(model, torch.randn(2, 3, 8, 8)).calls][-1] == ""
    assert compiled is not None and model._compiled_call_impl is compiled
