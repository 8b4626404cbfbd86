"""Projectors align any two kinds of features."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from layerprobe.distill.batches import Passes
from layerprobe.distill.layer_pairs import pair_by_mapping
from layerprobe.distill.losses.cosine import cosine
from layerprobe.distill.methods.catalogue import METHODS
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.projectors import PooledProjector, Projector
from layerprobe.layers.capture import Captured
from layerprobe.records import Layer, Shape, layout_of
from layerprobe.records.layout import GRID, SEQUENCE, Layout
from layerprobe.settings.alignment import AlignmentSettings

MAPS = st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9)).filter(
    lambda s: not layout_of(s).channels_last
)
SIDES = st.integers(1, 5)


@st.composite
def grids(draw: st.DrawFn) -> Shape:
    """Patches of any grid behind extra tokens."""
    height, width, prefix, channels = draw(SIDES), draw(SIDES), draw(st.integers(0, 5)), draw(st.integers(1, 6))
    layout = Layout(GRID, height, width, prefix, prefix > 0, channels_last=True)
    return Shape((prefix + height * width, channels), layout)


VECTORS = st.tuples(st.integers(1, 6))


@given(student=MAPS | VECTORS, teacher=MAPS | VECTORS)
@settings(max_examples=30)
def test_maps_meet_at_the_smaller_size_and_the_teachers_channels(
    student: tuple[int, ...], teacher: tuple[int, ...]
) -> None:
    pair = Projector(student, teacher)(torch.randn(2, *student), torch.randn(2, *teacher))
    ours, theirs = ((*shape, 1, 1)[:3] for shape in (student, teacher))
    expected = (2, theirs[0], min(ours[1], theirs[1]), min(ours[2], theirs[2]))
    assert pair.student.shape == pair.teacher.shape == expected


@given(student=MAPS | VECTORS | grids(), teacher=grids())
@settings(max_examples=30)
def test_patches_meet_at_the_smaller_grid(student: tuple[int, ...], teacher: Shape) -> None:
    pair = Projector(student, teacher)(torch.randn(2, *student), torch.randn(2, *teacher))
    ours, theirs = layout_of(student), layout_of(teacher)
    size: tuple[int, ...] = min(ours.height, theirs.height), min(ours.width, theirs.width)
    if ours == theirs and theirs.prefix:
        size = (theirs.prefix + math.prod(size),)
    assert pair.student.shape == pair.teacher.shape == (2, teacher[1], *size)


def test_there_is_no_bias_and_the_convolution_is_1x1() -> None:
    unknown = Shape((7, 3), Layout(SEQUENCE, 1, 7, channels_last=True))
    for shapes, kind in (
        (((3, 4, 4), (5, 4, 4)), nn.Conv2d), (((9, 3), (5, 4, 4)), nn.Conv2d), ((unknown, unknown), nn.Conv1d),
    ):  # fmt: skip
        convolution = Projector(*shapes).project
        assert type(convolution) is kind and convolution.bias is None
        assert set(convolution.kernel_size) == {1}


def test_a_map_beside_tokens_is_read_row_by_row() -> None:
    layout = Layout(GRID, 2, 4, channels_last=True)
    projector = Projector((3, 2, 4), Shape((8, 3), layout))
    nn.init.dirac_(projector.project.weight)
    image = torch.randn(2, 3, 2, 4)
    pair = projector(image, image.flatten(2).transpose(1, 2))
    assert torch.allclose(pair.student, image) and torch.equal(pair.teacher, image)


def test_pooling_then_projecting_is_projecting_then_pooling() -> None:
    projector = Projector((3, 7, 5), (4, 3, 2))
    student, teacher = torch.randn(2, 3, 7, 5), torch.randn(2, 4, 3, 2)
    other = nn.functional.adaptive_avg_pool2d(projector.project(student), (3, 2))
    assert torch.allclose(projector(student, teacher).student, other, atol=1e-6)


def test_channels_last_maps_are_turned() -> None:
    image = torch.randn(2, 3, 4, 4)
    first, last = Projector((3, 4, 4), (5, 4, 4)), Projector((4, 4, 3), (5, 4, 4))
    last.project.weight = first.project.weight
    teacher = torch.randn(2, 5, 4, 4)
    assert torch.equal(first(image, teacher).student, last(image.permute(0, 2, 3, 1), teacher).student)
    turned = Projector((3, 4, 4), (4, 4, 5))(image, teacher.permute(0, 2, 3, 1))
    assert torch.equal(turned.teacher, teacher)


def test_a_shape_with_four_axes_is_refused() -> None:
    with pytest.raises(ValueError, match="neither a vector, tokens nor a map"):
        Projector((3, 2, 4, 4), (8, 3))


def test_pooled_features_meet_as_one_vector_of_an_image() -> None:
    """A map against a ViT with registers: the cosine of its class token and the projected mean of the map, by hand."""
    generator = torch.Generator().manual_seed(0)
    tokens = Shape((9, 5), Layout(GRID, 2, 3, 3, True, channels_last=True))
    ours, theirs = torch.randn(4, 3, 6, 6, generator=generator), torch.randn(4, 9, 5, generator=generator)
    projector = PooledProjector((3, 6, 6), tokens)
    with torch.no_grad():
        pair = projector(ours, theirs)
        projected = ours.double().mean(dim=(2, 3)) @ projector.project.weight.double()[:, :, 0, 0].T
    assert pair.student.shape == pair.teacher.shape == (4, 5, 1, 1)
    similar = [float(a @ b / a.norm() / b.norm()) for a, b in zip(projected, theirs[:, 0].double(), strict=True)]
    assert float(cosine(*pair)) == pytest.approx(1 - sum(similar) / 4, abs=1e-6)


@pytest.mark.parametrize("alignment", [{"name": "projector"}, {"name": "moments"}, {"mapping": "attention"}])
def test_every_alignment_with_a_projector_takes_pooled_features(alignment: dict[str, str]) -> None:
    layers = [Layer(0, "a", "block", (4, 6, 6), 0), Layer(1, "b", "block", (8, 3, 3), 0)]
    form = AlignmentSettings(projector="pooled", feature_loss="cosine", **alignment)
    pairing = pair_by_mapping(form.mapping.mapping, layers, layers)
    objective = METHODS["feature-only"].build(ObjectiveContext(pairing, 12, 10, form))
    features = {layer.name: torch.randn(12, *layer.shape) for layer in layers}
    passes = Passes(
        pairing, Captured(torch.empty(12, 0), features), Captured(torch.empty(12, 0), features), None, torch.arange(12)
    )
    if objective.needs_fit:
        objective.fit([objective.fit_kind.of(passes)])
    total = torch.stack(list(objective(objective.batch_kind.of(passes)).values())).sum()
    assert bool(total.isfinite()) and total.requires_grad
