"""Which modules are blocks."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from layerprobe.layers.capture import Capture
from layerprobe.layers.discovery import discover_layers
from layerprobe.models.zoo import build_model


class Residual(nn.Module):
    """A wrapper: x + branch(x)."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.branch = branch

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class Basic(nn.Module):
    """A block as people write it, with a function at its end; no shortcut where it strides."""

    def __init__(self, channels: int = 4, stride: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride, 1)
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        y = functional.relu(self.conv(x))
        return functional.relu(y + x if self.stride == 1 else y)


def pooled(*body: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), *body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))


def found(model: nn.Module, size: int = 8) -> list[tuple[str, str]]:
    return [(layer.kind, layer.name) for layer in discover_layers(model, (size, size))]


def test_a_block_that_ends_with_a_function_is_a_block_with_or_without_its_shortcut() -> None:
    assert found(pooled(Basic(), Basic(stride=2))) == [("block", "1"), ("block", "2"), ("feature", "5.input")]


def test_a_linear_residual_is_no_block() -> None:
    """A conditional position encoding, say."""
    position = Residual(nn.Conv2d(4, 4, 3, padding=1, groups=4))
    assert found(pooled(position, Basic())) == [("block", "2"), ("feature", "5.input")]


def test_a_subclass_of_sequential_can_be_a_block() -> None:
    class Block(nn.Sequential):
        def forward(self, x: Tensor) -> Tensor:
            return x + super().forward(x)

    assert found(pooled(Block(nn.Conv2d(4, 4, 1), nn.ReLU())))[0] == ("block", "1")


def test_a_position_embedding_for_every_image_is_no_branch() -> None:
    class Embedded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.position, self.act = nn.Parameter(torch.randn(1, 4, 8, 8)), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            return self.act(x + self.position.expand(len(x), -1, -1, -1))

    assert found(pooled(Embedded()))[0] == ("activation", "1.act")


def test_a_branch_of_zeros_is_a_branch() -> None:
    block = Basic()
    nn.init.zeros_(block.conv.weight), nn.init.zeros_(block.conv.bias)
    assert found(pooled(block))[0] == ("block", "1")


def test_stages_that_add_are_no_blocks() -> None:
    """As HRNet's, or a group of blocks with a long shortcut."""
    groups = [Residual(nn.Sequential(Basic(), Basic())) for _ in range(3)]
    names = [name for kind, name in found(pooled(*groups)) if kind == "block"]
    assert names == [f"{group}.branch.{block}" for group in (1, 2, 3) for block in (0, 1)]


def test_a_transformer_block_made_of_wrappers_is_one_layer() -> None:
    class Encoder(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mixer = Residual(nn.Conv2d(4, 4, 3, padding=1))
            self.mlp = Residual(nn.Sequential(nn.Conv2d(4, 8, 1), nn.GELU(), nn.Conv2d(8, 4, 1)))

        def forward(self, x: Tensor) -> Tensor:
            return self.mlp(self.mixer(x))

    assert found(pooled(Encoder(), Encoder()))[:2] == [("block", "1"), ("block", "2")]


def test_an_inverted_residual_that_never_has_a_shortcut_is_a_block() -> None:
    class Bottleneck(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.expand, self.act = nn.Conv2d(4, 12, 1), nn.ReLU6(inplace=True)
            self.depthwise, self.project = nn.Conv2d(12, 12, 3, 2, 1, groups=12), nn.Conv2d(12, 4, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.project(self.act(self.depthwise(self.act(self.expand(x)))))

    class Separable(Bottleneck):
        """MobileNetV1's: what the projection gives goes through a non-linearity."""

        def forward(self, x: Tensor) -> Tensor:
            return self.act(super().forward(x))

    assert found(pooled(Bottleneck()))[0] == ("block", "1")
    assert [kind for kind, _ in found(pooled(Separable()))] == ["activation"] * 3 + ["feature"]


@pytest.mark.parametrize(
    ("name", "size", "activations", "blocks"),
    [
        ("coat_tiny", 32, 0, 8 + 6),  # without the position encodings, that add a convolution
        ("efficientvit_m0", 32, 3, 6 + 2 * 3),  # six of five wrappers; downsampling: an inverted residual and two MLPs
        ("hrnet_w18_small", 32, 24, 1 + 18 + 4),  # the branches' blocks, not the stages that fuse them
        ("mobilenetv2_100", 32, 2, 17),  # as torchvision's
        ("twins_svt_small", 32, 0, 18),
    ],
)
def test_counts(name: str, size: int, activations: int, blocks: int) -> None:
    kinds = [kind for kind, _ in found(build_model(f"timm:{name}", num_classes=4, image_size=size), size)]
    assert [kinds.count(kind) for kind in ("activation", "block", "feature")] == [activations, blocks, 1]


def test_of_two_streams_the_one_with_a_row_per_image_counts() -> None:
    """TNT's blocks give the pixels of every patch, (images * patches, ...), and then the patches."""
    model = build_model("timm:tnt_s_legacy_patch16_224", num_classes=4, image_size=32)
    shapes = [layer.shape for layer in discover_layers(model, (32, 32))]
    assert shapes == [(5, 384)] * 12 + [(384,)]


def test_a_classifier_whose_result_is_pooled_has_no_feature() -> None:
    model = build_model("torchvision:squeezenet1_1", num_classes=4)
    assert [kind for kind, _ in found(model, 32)] == [kind for kind, _ in found(model, 64)] == ["activation"] * 26


def test_a_block_of_two_streams_gives_the_one_that_it_changes() -> None:
    class Streams(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.block = Change()
            self.head = nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.block(x, x + 1)[1].mean(dim=(2, 3)))

    class Change(nn.Module):
        def forward(self, kept: Tensor, changed: Tensor) -> tuple[Tensor, Tensor]:
            return kept, changed + torch.tanh(changed)

    model, x = Streams().eval(), torch.randn(2, 3, 4, 4)
    assert found(model)[0] == ("block", "block")
    with torch.no_grad(), Capture(model, ["block"]) as capture:
        assert torch.equal(capture(x).features["block"], x + 1 + torch.tanh(x + 1))
