"""Projectors align any two kinds of features."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from layerprobe.distill.projectors import Projector
from layerprobe.layers.discovery import is_channels_last

MAPS = st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 9)).filter(lambda s: not is_channels_last(s))
TOKENS = st.tuples(st.integers(1, 17), st.integers(1, 6))
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


@given(student=MAPS | VECTORS | TOKENS, teacher=TOKENS)
@settings(max_examples=30)
def test_tokens_meet_at_the_shorter_sequence(student: tuple[int, ...], teacher: tuple[int, ...]) -> None:
    pair = Projector(student, teacher)(torch.randn(2, *student), torch.randn(2, *teacher))
    length = {1: 1, 2: student[0], 3: student[-1] * student[-2]}[len(student)] if len(student) > 1 else 1
    assert pair.student.shape == pair.teacher.shape == (2, teacher[1], min(length, teacher[0]))


def test_there_is_no_bias_and_the_convolution_is_1x1() -> None:
    for shapes, kind in (((3, 4, 4), (5, 4, 4)), nn.Conv2d), (((9, 3), (5, 4, 4)), nn.Conv1d):
        convolution = Projector(*shapes).project
        assert type(convolution) is kind and convolution.bias is None
        assert set(convolution.kernel_size) == {1}


def test_a_map_beside_tokens_is_read_row_by_row() -> None:
    projector = Projector((3, 2, 4), (8, 3))
    nn.init.dirac_(projector.project.weight)
    image = torch.randn(2, 3, 2, 4)
    pair = projector(image, torch.randn(2, 8, 3))
    assert torch.allclose(pair.student, image.flatten(2))


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
