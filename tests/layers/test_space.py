"""Where features lie in space: what networks declare, and the layouts of their layers."""

import copy
import pickle
from itertools import pairwise

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from layerprobe.distill.spatial import as_map
from layerprobe.errors import LayerprobeError
from layerprobe.layers.capture import Capture
from layerprobe.layers.discovery import discover_layers
from layerprobe.layers.space import Space, read_space
from layerprobe.models.zoo import build_model
from layerprobe.networks import find_model_layers
from layerprobe.records import Layer, Layout, Shape
from layerprobe.records.layout import GRID, MAP, SEQUENCE, VECTOR


@pytest.mark.parametrize(
    ("model", "prefix", "class_token", "grid"),
    [
        (lambda: timm.create_model("test_vit"), 1, True, (10, 10)),
        (lambda: timm.create_model("deit_tiny_distilled_patch16_224"), 2, True, (14, 14)),
        (lambda: timm.create_model("vit_small_patch14_reg4_dinov2", img_size=56), 5, True, (4, 4)),
        (
            lambda: timm.create_model("vit_tiny_patch16_224", class_token=False, reg_tokens=4, global_pool="avg"),
            4, False, (14, 14),
        ),
        (lambda: timm.create_model("pit_ti_224"), 1, True, (27, 27)),
        (lambda: torchvision.models.vit_b_32(), 1, True, None),
        (lambda: build_model("cifar:vit-small", seed=0), 1, True, None),
        (lambda: nn.Linear(2, 2), 0, False, None),
    ],
)  # fmt: skip
def test_what_networks_declare(model: object, prefix: int, class_token: bool, grid: tuple[int, int] | None) -> None:
    assert read_space(model(), (32, 32)) == Space((32, 32), prefix, class_token, grid)  # type: ignore[operator]


def test_the_user_has_the_last_word(caplog: pytest.LogCaptureFixture) -> None:
    own = nn.Linear(2, 2)
    assert read_space(own, (32, 32), prefix_tokens=3) == Space((32, 32), 3, has_class_token=True)
    assert not caplog.messages
    space = read_space(build_model("cifar:vit-small", seed=0), (32, 32), prefix_tokens=0)
    assert (space.prefix, space.has_class_token) == (0, False)
    assert caplog.messages == ["the model declares 1 extra token; it is read with 0, as asked"]


@pytest.mark.parametrize(
    ("model", "tokens"), [("cifar:vit-small", 65), ("cifar:vit-small", 100), ("cifar:resnet20", 1)]
)
def test_more_tokens_than_a_layer_has_are_refused(model: str, tokens: int) -> None:
    with pytest.raises(LayerprobeError, match=f"prefix_tokens {tokens}: no layer of the network has so many tokens"):
        find_model_layers(model, prefix_tokens=tokens)


def test_a_number_that_would_leave_no_grid_is_not_left_out_in_silence() -> None:
    """Without it 64 patches are a grid."""
    patches = nn.Sequential(nn.Conv2d(3, 6, 4, 4), nn.Flatten(2), Transposed(), nn.ReLU(), Transposed(), Mean())
    model = nn.Sequential(patches, nn.Linear(6, 2))
    assert discover_layers(model, (32, 32))[0].layout == Layout(GRID, 8, 8, channels_last=True)
    with pytest.raises(LayerprobeError, match="prefix_tokens 1: no layer"):
        discover_layers(model, (32, 32), prefix_tokens=1)


class Transposed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, 2)


class Mean(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=2)


def test_attributes_of_a_model_of_ones_own() -> None:
    own = nn.Linear(2, 2)
    own.num_prefix_tokens, own.has_class_token, own.grid_size, own.output_fmt = 2, True, (4, 8), "NHWC"
    assert read_space(own, (32, 32)) == Space((32, 32), 2, True, (4, 8), channels_last=True)


@pytest.mark.parametrize(
    ("space", "count", "grid"),
    [
        (Space((32, 32)), 64, (8, 8)),
        (Space((32, 32)), 65, None),
        (Space((32, 32)), 63, None),
        (Space((224, 224)), 169, (13, 13)),
        (Space((32, 64)), 32, (4, 8)),
        (Space((64, 32)), 32, (8, 4)),
        (Space((32, 64)), 49, None),  # 7 x 7 is no grid of square patches there
        (Space((32, 64)), 36, (4, 9)),  # patches of 7 pixels, rounded down
        (Space((224, 112)), 28, (7, 4)),  # 112 / 32 rounded up
        (Space((32, 32), grid=(4, 8)), 32, (4, 8)),
        (Space((32, 32), grid=(4, 8)), 8, (2, 4)),  # the same, pooled
        (Space((32, 32)), 0, None),
    ],
)
def test_grids(space: Space, count: int, grid: tuple[int, int] | None) -> None:
    assert space.grid_of(count) == grid


@pytest.mark.parametrize(
    ("space", "shape", "layout"),
    [
        (Space((32, 32)), (7,), Layout(VECTOR)),
        (Space((32, 32), 1, True), (65, 6), Layout(GRID, 8, 8, 1, True, True)),
        (Space((32, 32), 1, True), (64, 6), Layout(GRID, 8, 8, channels_last=True)),  # as in CaiT's first blocks
        (Space((32, 32), 1, True), (1, 6), Layout(GRID, 1, 1, channels_last=True)),  # as in its last
        (Space((32, 32), 5, True), (69, 6), Layout(GRID, 8, 8, 5, True, True)),
        (Space((32, 32), 4), (68, 6), Layout(GRID, 8, 8, 4, False, True)),
        (Space((32, 32)), (65, 6), Layout(SEQUENCE, 1, 65, channels_last=True)),
        (Space((32, 32), 3, True), (66, 6), Layout(SEQUENCE, 1, 63, 3, True, True)),
        (Space((32, 64), 1, True), (33, 6), Layout(GRID, 4, 8, 1, True, True)),
        (Space((32, 32)), (6, 8, 8), Layout(MAP, 8, 8)),
        (Space((32, 32)), (8, 8, 6), Layout(MAP, 8, 8, channels_last=True)),
        (Space((32, 64)), (4, 4, 8), Layout(MAP, 4, 8)),
        (Space((32, 64)), (4, 8, 8), Layout(MAP, 4, 8, channels_last=True)),
        (Space((32, 64)), (8, 4, 8), Layout(MAP, 4, 8)),
        (Space((32, 32), channels_last=True), (8, 8, 8), Layout(MAP, 8, 8, channels_last=True)),
    ],
)
def test_layouts(space: Space, shape: tuple[int, ...], layout: Layout) -> None:
    assert space.layout(shape) == layout


def test_parts_and_windows_are_no_map() -> None:
    assert Space((64, 64)).layout((4, 16, 144), folded=True) == Layout(SEQUENCE, 1, 64, channels_last=True)
    assert Space((64, 64)).layout((16, 49, 96), channels_last=True) == Layout(SEQUENCE, 1, 784, channels_last=True)


def test_a_shape_stays_a_tuple_and_keeps_its_layout() -> None:
    shape = Shape((65, 6), Layout(GRID, 8, 8, 1, True, True), "cls")
    assert shape == (65, 6) and f"{shape}" == "(65, 6)" and hash(shape) == hash((65, 6))
    for twin in (copy.deepcopy(shape), pickle.loads(pickle.dumps(shape))):
        assert (twin, twin.layout, twin.tokens) == (shape, shape.layout, "cls")


def layouts(model: nn.Module, image_size: tuple[int, int]) -> list[tuple[int, ...]]:
    """Kind, height, width and extra tokens of a network's blocks, repeats left out."""
    found = [layer.layout for layer in discover_layers(model, image_size) if layer.kind == "block"]
    shown = [(one.kind, one.height, one.width, one.prefix, one.channels_last) for one in found]
    return [shown[0], *(after for before, after in pairwise(shown) if before != after)]


def test_token_counts_that_change_inside_a_network() -> None:
    pit = timm.create_model("pit_ti_224", num_classes=2, img_size=32)
    assert layouts(pit, (32, 32)) == [(GRID, 3, 3, 1, True), (GRID, 2, 2, 1, True), (GRID, 1, 1, 1, True)]
    cait = timm.create_model("cait_xxs24_224", num_classes=2, img_size=64)
    assert layouts(cait, (64, 64)) == [(GRID, 4, 4, 0, True), (GRID, 1, 1, 0, True)]
    assert discover_layers(cait, (64, 64), prefix_tokens=1) == discover_layers(cait, (64, 64))
    hybrid = timm.create_model("vit_tiny_r_s16_p8_224", num_classes=2, img_size=64)
    assert layouts(hybrid, (64, 64)) == [(GRID, 2, 2, 1, True)]
    nest = timm.create_model("nest_tiny", num_classes=2, img_size=64)  # of 16 windows of 16 tokens, and of 4 of 16
    assert {kind for kind, *_ in layouts(nest, (64, 64))} == {SEQUENCE}
    hiera = timm.create_model("hiera_tiny_224", num_classes=2, img_size=32)
    assert {kind for kind, *_ in layouts(hiera, (32, 32))} == {SEQUENCE}


def test_maps_with_channels_last() -> None:
    expected = [(MAP, 8, 16, 0, True), (MAP, 4, 8, 0, True), (MAP, 2, 4, 0, True), (MAP, 1, 2, 0, True)]
    swin = torchvision.models.SwinTransformer([4, 4], 8, [1, 1, 1, 1], [1, 1, 1, 1], [4, 4], num_classes=2)
    assert layouts(swin, (32, 64)) == expected
    swin = timm.create_model(
        "swin_tiny_patch4_window7_224", num_classes=2, img_size=(32, 64), embed_dim=8, depths=(1, 1, 1, 1),
        num_heads=(1, 1, 1, 1), window_size=4,
    )  # fmt: skip
    assert layouts(swin, (32, 64)) == expected


class Stem(nn.Module):
    """A convolution, and a block with the channels last, on maps with as many channels as rows and columns."""

    def __init__(self, last: bool) -> None:
        super().__init__()
        self.stem, self.act, self.head = nn.Conv2d(3, 8, 4, 4), nn.ReLU(), nn.Linear(8, 2)
        self.norm = nn.LayerNorm(8) if last else nn.BatchNorm2d(8)
        self.mix, self.inner = nn.Linear(8, 8), nn.GELU()
        self.last = last

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.stem(x))
        x = x.permute(0, 2, 3, 1) if self.last else x
        return self.head(self.block(x).mean(dim=(1, 2) if self.last else (2, 3)))

    def block(self, x: Tensor) -> Tensor:
        x = self.inner(self.norm(x))
        return self.mix(x) if self.last else x


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("size", [(32, 32), (16, 32), (32, 16)])
def test_the_modules_around_a_map_tell_its_channels(last: bool, size: tuple[int, int]) -> None:
    act, inner = (layer for layer in discover_layers(Stem(last), size) if layer.kind == "activation")
    sides = size[0] // 4, size[1] // 4
    assert act.layout == Layout(MAP, *sides) and act.shape == (8, *sides)
    assert inner.layout == Layout(MAP, *sides, channels_last=last)


def test_stored_layers_are_read_as_their_shapes_suggest() -> None:
    assert Layer(0, "map", "block", (8, 4, 4), 0).layout == Layout(MAP, 4, 4)
    assert Layer(0, "tokens", "block", (16, 6), 0).layout == Layout(GRID, 4, 4, channels_last=True)
    assert Layer(0, "tokens", "block", (17, 6), 0).layout == Layout(SEQUENCE, 1, 17, channels_last=True)


def test_the_layouts_of_a_compound_network_follow_its_passes() -> None:
    """ConvNeXt's blocks turn their maps inside, and put out channels first."""
    convnext = timm.create_model("convnext_atto", num_classes=2)
    assert {layer.layout.channels_last for layer in discover_layers(convnext, (64, 64))} == {False}
    assert torch.is_tensor(convnext(torch.zeros(2, 3, 64, 64)))


SMALLEST = {
    "pit_ti_224": 64, "maxvit_pico_rw_256": 64, "mvitv2_tiny": 64, "vit_tiny_patch16_dinov3_qkvb": 64,
    "cait_xxs24_224": 64, "volo_d1_224": 64, "twins_svt_small": 64, "pvt_v2_b0": 64, "xcit_nano_12_p8_224": 32,
    "gcvit_xxtiny": 64, "swinv2_cr_tiny_224": 64, "swin_tiny_patch4_window7_224": 64, "efficientformer_l1": 224,
    "qwen3_vit_88m": 64, "naflexvit_base_patch16_parfac_gap": 64, "vitamin_small_224": 64, "sequencer2d_s": 64,
}  # fmt: skip
QUICK = ("pit_ti_224", "maxvit_pico_rw_256")


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SMALLEST]
)
def test_features_lie_where_the_image_changes(name: str) -> None:
    """Of the blocks of timm's transformers with random weights: those with at least 2 x 2 positions."""
    size = SMALLEST[name]
    model = build_model(f"timm:{name}", num_classes=2, image_size=size, seed=0).eval()
    found = [layer for layer in discover_layers(model, (size, size)) if layer.kind == "block"]
    placed = [layer for layer in found if layer.layout.is_map_like and layer.layout.positions >= 4]
    assert placed
    torch.manual_seed(0)
    image = torch.randn(1, 3, size, size) * 0.1
    corners = [(0, size - 8), (size - 8, 0)]
    with Capture(model, placed) as capture, torch.no_grad():
        before = capture(image.expand(2, -1, -1, -1)).features
        for top, left in corners:
            changed = image.clone()
            changed[:, :, top : top + 8, left : left + 8] += 3 * torch.randn(1, 3, 8, 8)
            after = capture(torch.cat([changed, image])).features
            for layer in placed:
                maps = [as_map(features[layer.name][:1], layer.shape) for features in (before, after)]
                moved = (maps[0] - maps[1]).square().sum(dim=1)[0]
                row, column = divmod(int(moved.argmax()), moved.shape[1])
                assert (row < moved.shape[0] / 2) == (top == 0), layer.name
                assert (column < moved.shape[1] / 2) == (left == 0), layer.name
