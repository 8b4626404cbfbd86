"""Copies of a network on the same tensors, and the memory order of its weights."""

import torch
from torch import Tensor, nn

from layerprobe.features.extraction.copies import copy_sharing_tensors
from layerprobe.models.channels_last import prefer_channels_last

IMAGES = torch.rand(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def network() -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)).eval()


class Holder(nn.Module):
    """Runs its layers through a function that knows this network alone."""

    def __init__(self) -> None:
        super().__init__()
        self.body = network()
        self.run = lambda images: self.body(images)

    def forward(self, images: Tensor) -> Tensor:
        return self.run(images)


class Random(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.mean((2, 3)) + torch.rand(())


class Locked(nn.Module):
    def __deepcopy__(self, memo: object) -> nn.Module:
        raise TypeError("cannot pickle")

    def forward(self, images: Tensor) -> Tensor:
        return images


class Viewing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.conv(images).view(len(images), -1)


def test_a_copy_has_modules_of_its_own_and_the_same_tensors() -> None:
    model = network()
    copy = copy_sharing_tensors(model, IMAGES)
    assert copy is not None and not set(copy.modules()) & set(model.modules())
    for one, other in zip((*model.parameters(), *model.buffers()), (*copy.parameters(), *copy.buffers()), strict=True):
        assert one is other
    calls = []
    copy[0].register_forward_hook(lambda *_: calls.append("copy"))
    model(IMAGES)
    assert not calls and not model[0]._forward_hooks and not model[0]._forward_pre_hooks
    copy(IMAGES)
    assert calls == ["copy"]


def test_no_copy_where_it_would_not_stand_alone() -> None:
    hooked = network()
    seen: list[Tensor] = []
    hooked[2].register_forward_hook(lambda _, inputs, output: seen.append(output))
    for model in (Holder(), Random(), Locked(), hooked):
        assert copy_sharing_tensors(model.eval(), IMAGES) is None
    assert not seen


def test_channels_last_where_the_network_still_runs() -> None:
    model, viewing = network(), Viewing().eval()
    expected = model(IMAGES), viewing(IMAGES)
    prefer_channels_last(model, IMAGES)
    prefer_channels_last(viewing, IMAGES)
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
    assert viewing.conv.weight.is_contiguous()
    assert torch.allclose(model(IMAGES), expected[0], atol=1e-6) and torch.equal(viewing(IMAGES), expected[1])
