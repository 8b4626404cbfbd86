"""Networks that put tokens first and images second, as ``nn.TransformerEncoder`` does by default."""

import logging

import pytest
import torch
from torch import Tensor, nn

from layerprobe.errors import LayerprobeError
from layerprobe.layers.batch_axis import Rows, find_rows, images_first
from layerprobe.layers.capture import Capture
from layerprobe.layers.discovery import discover_layers
from layerprobe.records import Layer

WIDTH = 24


class Transformer(nn.Module):
    """Patches of 8 pixels and a class token through torch's own encoder, with images first or second."""

    def __init__(self, batch_first: bool, class_token: bool = True) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.patches = nn.Conv2d(3, WIDTH, 8, 8)
        self.class_token = nn.Parameter(torch.randn(1, 1, WIDTH)) if class_token else None
        layer = nn.TransformerEncoderLayer(WIDTH, 2, 48, dropout=0.0, batch_first=batch_first)
        self.encoder = nn.TransformerEncoder(layer, 3, enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        if self.class_token is not None:
            x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1)
        x = self.encoder(x) if self.batch_first else self.encoder(x.transpose(0, 1)).transpose(0, 1)
        return self.head(x[:, 0])


class Block(nn.Module):
    """An encoder block by hand, which says what it attended to beside what it made."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attention = nn.MultiheadAttention(WIDTH, 2)
        self.mlp = nn.Sequential(nn.Linear(WIDTH, 48), nn.GELU(), nn.Linear(48, WIDTH))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        read = self.first(x)
        given, weights = self.attention(read, read, read)
        x = x + given
        return x + self.mlp(self.second(x)), weights


class Embedding(nn.Module):
    """Positions that are the same for every image, laid out for all of them, and a non-linearity."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.positions, self.act = nn.Parameter(torch.randn(tokens, 1, WIDTH)), nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(x + self.positions.expand(-1, x.shape[1], -1))


class ByHand(nn.Module):
    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.patches, self.embedding = nn.Conv2d(3, WIDTH, 8, 8), Embedding(tokens)
        self.blocks, self.head = nn.ModuleList([Block(), Block()]), nn.Linear(WIDTH, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embedding(self.patches(x).flatten(2).permute(2, 0, 1))
        for block in self.blocks:
            x, _ = block(x)
        return self.head(x.mean(0))


def twins(class_token: bool = True) -> tuple[Transformer, Transformer]:
    torch.manual_seed(0)
    first = Transformer(True, class_token).eval()
    second = Transformer(False, class_token).eval()
    second.load_state_dict(first.state_dict())
    return first, second


def captured(model: nn.Module, images: Tensor, layers: tuple[Layer, ...]) -> dict[str, Tensor]:
    with torch.no_grad(), Capture(model, layers) as capture:
        for batch in (images.flip(0), images):  # the second pass copies only what it must
            features = capture(batch).features
    return dict(features)


@pytest.mark.parametrize("class_token", [True, False])
@pytest.mark.parametrize("size", [(32, 32), (24, 24), (8, 8), (8, 16), (16, 40)])
def test_the_layers_and_features_are_those_of_the_twin_with_images_first(
    size: tuple[int, int], class_token: bool
) -> None:
    """Also where there are as many tokens as images, in the pass that finds layers (8x16) or in a batch."""
    first, second = twins(class_token)
    expected, found = discover_layers(first, size), discover_layers(second, size)
    assert found == expected and [layer.kind for layer in found] == ["block"] * 3 + ["feature"]
    assert [layer.batch_axis for layer in found] == [1, 1, 1, 0] and not any(layer.batch_axis for layer in expected)
    tokens = found[0].shape[0]
    for count in {1, 2, 5, tokens}:
        images = torch.randn(count, 3, *size)
        ours, theirs = captured(second, images, found), captured(first, images, expected)
        for layer in found:
            assert ours[layer.name].shape == (count, *layer.shape)
            assert torch.allclose(ours[layer.name], theirs[layer.name], atol=1e-5), layer


@pytest.mark.parametrize(("size", "tokens"), [((16, 16), 4), ((8, 16), 2), ((24, 24), 9)])
def test_blocks_by_hand(size: tuple[int, int], tokens: int) -> None:
    """Of what a block returns, its tokens are the layer, although its attention has the images first."""
    model = ByHand(tokens).eval()
    layers = discover_layers(model, size)
    assert [(layer.name, layer.kind, layer.shape, layer.batch_axis) for layer in layers] == [
        ("embedding.act", "activation", (tokens, WIDTH), 1),
        ("blocks.0", "block", (tokens, WIDTH), 1),
        ("blocks.1", "block", (tokens, WIDTH), 1),
        ("head.input", "feature", (WIDTH,), 0),
    ]
    for count in (3, tokens):
        images = torch.randn(count, 3, *size)
        features = captured(model, images, layers)
        with torch.no_grad():
            expected = model.embedding(model.patches(images).flatten(2).permute(2, 0, 1))
            assert torch.equal(features["embedding.act"], expected.transpose(0, 1))
            for name in ("blocks.0", "blocks.1"):
                expected, _ = model.get_submodule(name)(expected)
                assert torch.equal(features[name], expected.transpose(0, 1))
        assert torch.equal(features["head.input"], features["blocks.1"].mean(1))


def test_the_gate_stops_gradients() -> None:
    _, model = twins()
    layers = discover_layers(model, (16, 16))
    images = torch.randn(5, 3, 16, 16)
    with Capture(model, layers[:3], gate="encoder.layers.2") as capture:
        for _ in range(2):
            model.zero_grad()
            given = capture(images)
            given.logits.sum().backward()
            assert model.patches.weight.grad is None and model.head.weight.grad is not None
            given.features["encoder.layers.2"].sum().backward()
            assert model.patches.weight.grad is not None
    assert torch.equal(given.logits, model(images))


def test_the_gate_on_one_of_the_tensors_that_a_block_returns() -> None:
    model, images = ByHand(4), torch.randn(5, 3, 16, 16)
    layers = discover_layers(model, (16, 16))
    with Capture(model, layers, gate="blocks.1") as capture:
        given = capture(images)
        given.logits.sum().backward()
    assert model.blocks[1].mlp[0].weight.grad is None and model.head.weight.grad is not None
    assert torch.allclose(given.logits, model(images))


def test_a_name_alone_does_not_tell_the_axis() -> None:
    _, model = twins()
    with (
        torch.no_grad(),
        Capture(model, ["encoder.layers.0"]) as capture,
        pytest.raises(RuntimeError, match=r"first axis doesn't count the 3 images; capture the Layer that discover"),
    ):
        capture(torch.randn(3, 3, 24, 24))


class Windows(nn.Module):
    """Blocks that see parts of images, tokens first: (tokens, images * parts, width)."""

    def __init__(self, shuffled: bool = False) -> None:
        super().__init__()
        self.patches, self.head = nn.Conv2d(3, WIDTH, 8, 8), nn.Linear(WIDTH, 10)
        self.block, self.shuffled = nn.TransformerEncoderLayer(WIDTH, 2, 48, batch_first=shuffled), shuffled

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2).unflatten(1, (2, -1))  # (images, parts, tokens, width)
        if self.shuffled:  # parts, and then images
            x = self.block(x.transpose(0, 1).flatten(0, 1)).unflatten(0, (2, -1)).transpose(0, 1)
        else:
            x = self.block(x.flatten(0, 1).transpose(0, 1)).transpose(0, 1).unflatten(0, (-1, 2))
        return self.head(x.mean((1, 2)))


@pytest.mark.parametrize("shuffled", [False, True])
def test_blocks_whose_images_cannot_be_told_apart_are_left_out_with_a_word(
    shuffled: bool, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        layers = discover_layers(Windows(shuffled).eval(), (32, 32))
    assert [layer.name for layer in layers] == ["head.input"]
    assert "1 of the model's layers can't be read, and are left out" in caplog.text and "block" in caplog.text


def test_a_gate_of_weights_alone_is_no_layer(caplog: pytest.LogCaptureFixture) -> None:
    class Gated(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.sigmoid = nn.Parameter(torch.randn(4, 3)), nn.Sigmoid()
            self.act, self.head = nn.ReLU(), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.act(x.mean((2, 3))) * self.sigmoid(self.weight).sum(0))

    assert [layer.name for layer in discover_layers(Gated(), (8, 8))] == ["act", "head.input"]
    assert not caplog.text


def outputs(*shapes: tuple[int, ...]) -> list[Tensor]:
    return [torch.randn(shape) for shape in shapes]


@pytest.mark.parametrize(
    ("two", "three", "expected"),
    [
        ([(2, 5)], [(3, 5)], Rows(0)),
        ([(2, 2, 5)], [(3, 2, 5)], Rows(0)),
        ([(2, 2, 5)], [(2, 3, 5)], Rows(0, axis=1)),
        ([(4, 2, 5)], [(4, 3, 5)], Rows(0, axis=1)),
        ([(4, 5, 2)], [(4, 5, 3)], Rows(0, axis=2)),
        ([(4, 2, 5), (2, 4, 4)], [(4, 3, 5), (3, 4, 4)], Rows(0, axis=1)),
        ([(8, 5), (2, 4)], [(12, 5), (3, 4)], Rows(1)),
        ([(2, 2)], [(3, 3)], None),
        ([(2,)], [(3,)], None),
        ([(4, 4, 5)], [(4, 6, 5)], None),
        ([(4, 5)], [(4, 5)], None),
        ([(8, 5)], [(12, 5)], None),  # of random numbers the parts are in no order
        ([], [], None),
    ],
)
def test_the_axis_is_the_one_that_grows(
    two: list[tuple[int, ...]], three: list[tuple[int, ...]], expected: Rows | None
) -> None:
    assert find_rows(outputs(*two), outputs(*three)) == expected


def test_parts_of_images_in_their_order_are_folded() -> None:
    images = torch.randn(3, 4, 5)
    two, three = images[:2].flatten(0, 1), images[[1, 0, 2]].flatten(0, 1)
    assert find_rows([two], [three]) == Rows(0, folded=True)
    assert torch.equal(images_first(two, 2), images[:2])


def test_a_model_that_takes_no_third_image_is_refused() -> None:
    class TwoOnly(Transformer):
        def forward(self, x: Tensor) -> Tensor:
            assert len(x) == 2, "two images, please"
            return super().forward(x)

    with pytest.raises(LayerprobeError, match=r"fails on 3 images of 3x16x16: AssertionError: two images, please; "):
        discover_layers(TwoOnly(False), (16, 16))
