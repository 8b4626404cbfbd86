"""Features of two networks meet in two dimensions: the same place beside the same place."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from layerprobe.distill.projectors import GridConvolution, Projector, ThreeLayerProjector, load_projector
from layerprobe.distill.spatial import SpatialAligner, as_map
from layerprobe.errors import LayerprobeError
from layerprobe.layers.capture import Capture
from layerprobe.layers.discovery import discover_layers
from layerprobe.layers.space import Space
from layerprobe.records import Layout, Shape
from layerprobe.records.layout import GRID, MAP, SEQUENCE, VECTOR


def space_of(image: tuple[int, int], prefix: int) -> Space:
    return Space(image, prefix, has_class_token=prefix > 0)


def tokens_shape(grid: tuple[int, int], prefix: int, width: int = 3, tokens: str = "") -> Shape:
    """Of a transformer's layer with this grid of patches."""
    shape = (prefix + grid[0] * grid[1], width)
    return Shape(shape, space_of((16 * grid[0], 16 * grid[1]), prefix).layout(shape), tokens)


def gradient(height: int, width: int, vertical: bool) -> Tensor:
    """The mean over each of height x width cells of an image that grows from one side to the other."""
    down, along = ((torch.arange(size, dtype=torch.float64) + 0.5) / size for size in (height, width))
    return down[:, None].expand(height, width) if vertical else along.expand(height, width)


def as_tokens(cells: Tensor, prefix: int, extra: float = 9.0) -> Tensor:
    """(1, prefix + cells, 1): patches row by row behind extra tokens that hold another number."""
    return torch.cat([torch.full((prefix,), extra, dtype=cells.dtype), cells.flatten()])[None, :, None]


def correlation(pair: tuple[Tensor, Tensor]) -> float:
    return float(np.corrcoef(pair[0].flatten().numpy(), pair[1].flatten().numpy())[0, 1])


MAPS = [(side, side) for side in (4, 5, 7, 8, 14, 16, 28, 32)]
GRIDS = [(side, side) for side in (8, 14, 16)]


@pytest.mark.parametrize("vertical", [False, True])
@pytest.mark.parametrize("prefix", [0, 1, 5])
@pytest.mark.parametrize("grid", [*GRIDS, (4, 8), (14, 7)])
def test_a_gradient_stays_what_it_is_from_map_to_grid(grid: tuple[int, int], prefix: int, vertical: bool) -> None:
    tokens = as_tokens(gradient(*grid, vertical), prefix)
    shape = tokens_shape(grid, prefix, 1)
    for base in MAPS:
        sides = base if grid in GRIDS else (base[0], base[1] * grid[1] // grid[0])
        image = gradient(*sides, vertical)[None, None]
        assert correlation(SpatialAligner((1, *sides), shape)(image, tokens)) > 0.99
        assert correlation(SpatialAligner(shape, (1, *sides))(tokens, image)) > 0.99
        last = Shape((*sides, 1), Layout(MAP, *sides, channels_last=True))
        assert correlation(SpatialAligner(last, shape)(image.permute(0, 2, 3, 1), tokens)) > 0.99


@pytest.mark.parametrize("vertical", [False, True])
@pytest.mark.parametrize(("ours", "theirs"), list(product((0, 1, 5), repeat=2)))
def test_a_gradient_stays_what_it_is_from_grid_to_grid(ours: int, theirs: int, vertical: bool) -> None:
    """Patches of 4 pixels and of 8, and others."""
    for one, other in (((8, 8), (4, 4)), ((14, 14), (8, 8)), ((16, 16), (14, 14)), ((4, 8), (8, 16))):
        aligner = SpatialAligner(tokens_shape(one, ours, 1), tokens_shape(other, theirs, 1))
        pair = aligner(as_tokens(gradient(*one, vertical), ours), as_tokens(gradient(*other, vertical), theirs))
        assert correlation(pair) > 0.99


@pytest.mark.parametrize("vertical", [False, True])
@pytest.mark.parametrize("size", [(32, 32), (32, 64)])
def test_swins_maps_of_a_network(size: tuple[int, int], vertical: bool) -> None:
    """Maps of torchvision's Swin whose blocks hand on the patches' means, beside maps of other sizes and a grid."""
    swin = torchvision.models.SwinTransformer([4, 4], 8, [1, 1], [1, 1], [4, 4], num_classes=2)
    nn.init.constant_(swin.features[0][0].weight, 1 / 48)
    nn.init.zeros_(swin.features[0][0].bias)
    swin.features[0][2] = nn.Identity()
    nn.init.zeros_(swin.features[1][0].mlp[3].weight)
    nn.init.zeros_(swin.features[1][0].attn.proj.weight)
    for parameter in (swin.features[1][0].mlp[3].bias, swin.features[1][0].attn.proj.bias):
        nn.init.zeros_(parameter)
    layer = next(layer for layer in discover_layers(swin, size) if layer.kind == "block")
    assert layer.layout == Layout(MAP, size[0] // 4, size[1] // 4, channels_last=True)
    image = gradient(*size, vertical).float().expand(2, 3, *size)
    with Capture(swin.eval(), [layer]) as capture, torch.no_grad():
        features = capture(image).features[layer.name]
    for sides in ((32, 32), (8, 16), (4, 4), (5, 7)):
        other = gradient(*sides, vertical).float().expand(2, 8, *sides)
        shape = Shape((8, *sides), Layout(MAP, *sides))
        assert correlation(SpatialAligner(layer.shape, shape)(features, other)) > 0.99
    tokens = as_tokens(gradient(4, 8, vertical), 1).float().expand(2, 33, 8)
    assert correlation(SpatialAligner(layer.shape, tokens_shape((4, 8), 1, 8))(features, tokens)) > 0.99


def pooled(cells: np.ndarray, height: int, width: int) -> np.ndarray:
    """(height, width) means of equal parts of (rows, columns), position by position; shared ones count in both."""
    rows, columns = cells.shape
    result = np.empty((height, width))
    for i, j in product(range(height), range(width)):
        part = cells[
            i * rows // height : -(-(i + 1) * rows // height), j * columns // width : -(-(j + 1) * columns // width)
        ]
        result[i, j] = part.mean()
    return result


@pytest.mark.parametrize("prefix", [0, 1, 5])
@pytest.mark.parametrize(
    ("sides", "grid"), [((8, 8), (4, 4)), ((4, 4), (14, 14)), ((7, 3), (5, 6)), ((16, 9), (14, 14)), ((1, 1), (3, 2))]
)
def test_pooling_against_loops_in_float64(sides: tuple[int, int], grid: tuple[int, int], prefix: int) -> None:
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(2, 3, *sides, dtype=torch.float64, generator=generator)
    tokens = torch.randn(2, prefix + grid[0] * grid[1], 3, dtype=torch.float64, generator=generator)
    shape = Shape(tokens.shape[1:], Layout(GRID, *grid, prefix, prefix > 0, channels_last=True))
    size = min(sides[0], grid[0]), min(sides[1], grid[1])
    aligner = SpatialAligner((3, *sides) if sides != (1, 1) else (3,), shape)
    found = aligner(image if sides != (1, 1) else image[:, :, 0, 0], tokens)
    assert found.student.shape == found.teacher.shape == (2, 3, *size) and aligner.size == size
    for n, c in product(range(2), range(3)):
        np.testing.assert_allclose(found.student[n, c], pooled(image[n, c].numpy(), *size), rtol=1e-12)
        cells = tokens[n, prefix:, c].numpy().reshape(grid)
        np.testing.assert_allclose(found.teacher[n, c], pooled(cells, *size), rtol=1e-12)


def test_pairs_of_maps_are_pooled_as_ever_to_the_bit() -> None:
    for ours, theirs in (
        ((16, 8, 8), (64, 4, 4)),
        ((16, 4, 4), (8, 16, 16)),
        ((4, 7, 3), (4, 5, 5)),
        ((9,), (4, 2, 2)),
    ):
        student, teacher = torch.randn(3, *ours), torch.randn(3, *theirs)
        found = SpatialAligner(ours, theirs)(student, teacher)
        maps = student if len(ours) == 3 else student[:, :, None, None]
        size = min(maps.shape[2], theirs[1]), min(maps.shape[3], theirs[2])
        assert torch.equal(found.student, nn.functional.adaptive_avg_pool2d(maps, size))
        assert torch.equal(found.teacher, nn.functional.adaptive_avg_pool2d(teacher, size))


def by_hand(tokens: Tensor, prefix: int, sides: int) -> tuple[Tensor, Tensor]:
    """(batch, channels, prefix) and (batch, channels, sides, sides), straight from the definition."""
    moved = tokens.permute(0, 2, 1)
    return moved[:, :, :prefix], moved[:, :, prefix:].reshape(*moved.shape[:2], sides, sides)


def test_sequences_of_one_layout_meet_token_by_token() -> None:
    ours, theirs = torch.randn(2, 65, 4), torch.randn(2, 65, 6)
    aligner = SpatialAligner(tokens_shape((8, 8), 1, 4), tokens_shape((8, 8), 1, 6))
    assert aligner.is_sequence and aligner.positions == 65
    pair = aligner(ours, theirs)
    assert torch.equal(pair.student, ours.transpose(1, 2)) and torch.equal(pair.teacher, theirs.transpose(1, 2))
    # Tokens that form no grid meet only their equals.
    unknown = Shape((63, 4), Layout(SEQUENCE, 1, 63, channels_last=True))
    pair = SpatialAligner(unknown, unknown)(ours[:, :63], ours[:, :63])
    assert torch.equal(pair.student, ours[:, :63].transpose(1, 2))


@pytest.mark.parametrize("tokens", ["", "patches", "cls", "all"])
def test_which_tokens_of_two_grids_are_compared(tokens: str) -> None:
    """Patches of 4 pixels with a class token, of 8 with a class token and 4 registers."""
    ours, theirs = torch.randn(2, 65, 3), torch.randn(2, 21, 3)
    (our_extra, our_patches), (their_extra, their_patches) = by_hand(ours, 1, 8), by_hand(theirs, 5, 4)
    pair = SpatialAligner(tokens_shape((8, 8), 1, tokens=tokens), tokens_shape((4, 4), 5, tokens=tokens))(ours, theirs)
    small = our_patches.reshape(2, 3, 4, 2, 4, 2).mean(dim=(3, 5))
    if tokens == "cls":
        expected = our_extra[..., None], their_extra[:, :, :1, None]
    elif tokens == "all":  # registers have no counterpart
        expected = (
            torch.cat([our_extra, small.flatten(2)], dim=2),
            torch.cat([their_extra[:, :, :1], their_patches.flatten(2)], dim=2),
        )
    else:
        expected = small, their_patches
    assert torch.allclose(pair.student, expected[0], atol=1e-6) and torch.equal(pair.teacher, expected[1])


@pytest.mark.parametrize("tokens", ["", "patches", "cls", "all"])
@pytest.mark.parametrize("last", [False, True])
def test_which_tokens_are_compared_with_a_map(tokens: str, last: bool) -> None:
    image, theirs = torch.randn(2, 3, 8, 8), torch.randn(2, 17, 3)
    extra, patches = by_hand(theirs, 1, 4)
    shape: tuple[int, ...] = (3, 8, 8)
    if last:
        shape = Shape((8, 8, 3), Layout(MAP, 8, 8, channels_last=True))
    given = image.permute(0, 2, 3, 1) if last else image
    shapes = Shape(shape, SpatialAligner(shape, shape).student.layout, tokens), tokens_shape((4, 4), 1, tokens=tokens)
    pair = SpatialAligner(*shapes)(given, theirs)
    small, mean = image.reshape(2, 3, 4, 2, 4, 2).mean(dim=(3, 5)), image.mean(dim=(2, 3))
    if tokens == "cls":
        expected = mean[:, :, None, None], extra[..., None]
    elif tokens == "all":
        expected = torch.cat([mean[:, :, None], small.flatten(2)], dim=2), torch.cat([extra, patches.flatten(2)], dim=2)
    else:
        expected = small, patches
    assert torch.allclose(pair.student, expected[0], atol=1e-6) and torch.equal(pair.teacher, expected[1])


def test_which_tokens_of_one_layout_are_compared() -> None:
    ours = torch.randn(2, 21, 3)
    extra, patches = by_hand(ours, 5, 4)
    expected = {
        "patches": patches,
        "cls": extra[:, :, :1, None],
        "all": ours.transpose(1, 2),
    }
    for tokens, value in expected.items():
        shape = tokens_shape((4, 4), 5, tokens=tokens)
        assert torch.equal(SpatialAligner(shape, shape)(ours, ours).student, value)


def test_a_vector_is_one_position() -> None:
    vector, tokens = torch.randn(2, 5), torch.randn(2, 17, 3)
    extra, patches = by_hand(tokens, 1, 4)
    shape = tokens_shape((4, 4), 1)
    pair = SpatialAligner((5,), shape)(vector, tokens)
    assert torch.equal(pair.student, vector[:, :, None, None])
    assert torch.allclose(pair.teacher, patches.mean(dim=(2, 3), keepdim=True), atol=1e-6)
    vectors = Shape((5,), Layout(VECTOR), "cls"), tokens_shape((4, 4), 1, tokens="cls")
    assert torch.equal(SpatialAligner(*vectors)(vector, tokens).teacher, extra[..., None])
    unknown = Shape((17, 3), Layout(SEQUENCE, 1, 17, channels_last=True))
    assert torch.allclose(
        SpatialAligner((5,), unknown)(vector, tokens).teacher[:, :, 0, 0], tokens.mean(dim=1), atol=1e-6
    )


def test_as_many_tokens_in_another_order_are_not_compared_one_by_one() -> None:
    """Hiera's 64 patches do not lie row by row, those of a ViT do."""
    elsewhere = Space((32, 32), by_rows=False).layout((64, 3))
    with pytest.raises(LayerprobeError, match="the 64 tokens of the student's layer form no grid"):
        SpatialAligner(Shape((64, 3), elsewhere), tokens_shape((8, 8), 0))
    with pytest.raises(LayerprobeError, match="the 64 tokens of the teacher's layer form no grid"):
        SpatialAligner(tokens_shape((8, 8), 0), Shape((64, 3), elsewhere))
    assert SpatialAligner(Shape((64, 3), elsewhere), Shape((64, 5), elsewhere)).positions == 64


@pytest.mark.parametrize("other", [(3, 8, 8), (64, 3), (16, 3)])
def test_tokens_that_form_no_grid_are_refused_where_one_is_needed(other: tuple[int, ...]) -> None:
    unknown = Shape((65, 3), Layout(SEQUENCE, 1, 65, channels_last=True))
    with pytest.raises(
        LayerprobeError, match=r"the 65 tokens of the student's layer form no grid .*student\.prefix_tok"
    ):
        SpatialAligner(unknown, other)
    with pytest.raises(
        LayerprobeError, match=r"the 65 tokens of the teacher's layer form no grid .*teacher\.prefix_tok"
    ):
        SpatialAligner(other, unknown)


def test_as_map_leaves_extra_tokens_out() -> None:
    tokens = torch.randn(2, 21, 3)
    assert torch.equal(as_map(tokens, tokens_shape((4, 4), 5)), by_hand(tokens, 5, 4)[1])


def test_three_layers_convolve_patches_in_their_grid() -> None:
    """Beside two-dimensional convolutions of the patches, and of each extra token as a map of one position."""
    torch.manual_seed(0)
    projector = ThreeLayerProjector(tokens_shape((4, 4), 1, 3), tokens_shape((4, 4), 1, 5)).double().eval()
    assert isinstance(projector.project[3], GridConvolution)
    x, teacher = torch.randn(2, 17, 3, dtype=torch.float64), torch.randn(2, 17, 5, dtype=torch.float64)
    extra, patches = by_hand(x, 1, 4)
    parts = [patches, extra[..., None]]
    for module in projector.project:
        if isinstance(module, GridConvolution):
            parts = [
                nn.functional.conv2d(part, module.weight, module.bias, padding=module.weight.shape[2] // 2)
                for part in parts
            ]
        elif isinstance(module, nn.BatchNorm1d):
            parts = [part / (1 + module.eps) ** 0.5 for part in parts]
        else:
            parts = [part.relu() for part in parts]
    expected = torch.cat([parts[1].flatten(2), parts[0].flatten(2)], dim=2)
    assert torch.allclose(projector(x, teacher).student, expected, atol=1e-12)
    plain = ThreeLayerProjector(tokens_shape((8, 8), 1, 3), tokens_shape((4, 4), 1, 5))
    assert [type(module) for module in plain.project[:2]] == [nn.Conv2d, nn.BatchNorm2d]


def test_projectors_of_a_grid_and_a_map_are_two_dimensional() -> None:
    projector = Projector((3, 8, 8), tokens_shape((4, 4), 1, 5))
    assert isinstance(projector.project, nn.Conv2d)
    pair = projector(torch.randn(2, 3, 8, 8), torch.randn(2, 17, 5))
    assert pair.student.shape == pair.teacher.shape == (2, 5, 4, 4)


OWN = """
from torch import nn
from layerprobe.distill.spatial import SpatialAligner, channels

class Scaled(nn.Module):
    def __init__(self, student_shape, teacher_shape):
        super().__init__()
        self.align = SpatialAligner(student_shape, teacher_shape)
        self.scale = nn.Conv2d(channels(student_shape), channels(teacher_shape), 1)

    def forward(self, student, teacher):
        student, teacher = self.align(student, teacher)
        return self.scale(student), teacher
"""


def test_a_projector_of_ones_own_knows_the_layouts_by_the_shapes(tmp_path: Path) -> None:
    """One that was written for maps, as version 0.1.0 documents it."""
    (tmp_path / "own.py").write_text(OWN)
    make = load_projector(f"{tmp_path / 'own.py'}:Scaled")
    image, tokens = torch.randn(2, 3, 8, 8), torch.randn(2, 17, 5)
    for asked in ("", "cls"):
        shape = tokens_shape((4, 4), 1, 5, asked)
        projector = make(Shape((3, 8, 8), Layout(MAP, 8, 8), asked), shape)
        pair = projector(image, tokens)
        extra, patches = by_hand(tokens, 1, 4)
        assert torch.equal(pair.teacher, extra[..., None] if asked else patches)
        assert pair.student.shape == pair.teacher.shape
