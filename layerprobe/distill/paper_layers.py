"""The layers that Cooper et al. (arXiv 2511.14981) chose in their own networks, by place and never by our index.

The released code counts the layers of a convolutional network as we do, and those of a vision transformer otherwise:
its index 0 is the patch embedding with the class token, indices 1 to 12 are the encoder blocks, and there is no pooled
feature. Its index 9 of ViT-B is the ninth block, where our index 9 is the tenth. So a layer stands here as the n-th of
its kind, which is the same layer however indices are counted, and wherever the architecture comes from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from layerprobe.records import Layer


@dataclass(frozen=True)
class Place:
    """The n-th layer of a kind.

    Attributes:
        kind: ``block``, ``activation`` or ``feature``, as in ``Layer``.
        number: which of that kind in execution order, from 1.
    """

    kind: str
    number: int


def find_places(layers: Sequence[Layer], places: Iterable[Place]) -> tuple[Layer, ...] | None:
    """The layers at some places of a network; None: it has no layer at one of them, and so is another network."""
    kinds: dict[str, list[Layer]] = {}
    for layer in layers:
        kinds.setdefault(layer.kind, []).append(layer)
    wanted = [(kinds.get(place.kind, []), place.number) for place in places]
    if any(number > len(found) for found, number in wanted):
        return None
    return tuple(found[number - 1] for found, number in wanted)


def _blocks(*numbers: int) -> tuple[Place, ...]:
    return tuple(Place("block", number) for number in numbers)


def _activations(*numbers: int) -> tuple[Place, ...]:
    return tuple(Place("activation", number) for number in numbers)


_MOBILENET_V2 = _blocks(3, 6, 13, 17)
_VIT_SMALL = _blocks(1, 3, 5, 7)
_VIT_B = _blocks(2, 4, 8, 10)

_VGG11 = _activations(2, 4, 6, 8)
_RESNET9 = _blocks(1, 2, 3, 4)

STUDENTS: Mapping[str, tuple[Place, ...]] = {
    "resnet9": _RESNET9,
    "resnet9-paper": _RESNET9,
    "vgg11": _VGG11,
    "vgg11-paper": _VGG11,
    "mobilenetv2": _MOBILENET_V2,
    "mobilenetv2-paper": _MOBILENET_V2,
    "mobilenet_v2": _MOBILENET_V2,
    "vit-small": _VIT_SMALL,
    "vit-small-mean": _VIT_SMALL,
}
"""The layers of the paper's students that learn, by the architecture's name."""

_VGG19_EVEN = _activations(4, 8, 12, 16)
_RESNET34_EVEN = _blocks(3, 7, 13, 16)

BASELINE_TEACHERS: Mapping[str, tuple[Place, ...]] = {
    "vgg19": _VGG19_EVEN,
    "vgg19-paper": _VGG19_EVEN,
    "resnet34": _RESNET34_EVEN,
    "resnet34-paper": _RESNET34_EVEN,
    "vit-base": _VIT_B,
    "vit-base-mean": _VIT_B,
    "vit_b_16": _VIT_B,
}
"""The layers of the paper's teachers that teach in the baselines, by the architecture's name."""

_VGG19 = _activations(12, 13, 14, 16)
_VGG19_BY_QUALITY = {
    "CIFAR10": _VGG19,
    "CIFAR100": _VGG19,
    "TinyImageNet": (*_activations(12, 13, 14), Place("feature", 1)),
}
_RESNET34_BY_QUALITY = dict.fromkeys(("CIFAR10", "CIFAR100", "TinyImageNet"), _blocks(12, 13, 14, 15))

_VIT_B_BY_QUALITY = {
    "CIFAR10": _blocks(9, 10, 11, 12),
    "CIFAR100": _blocks(7, 10, 11, 12),
    "TinyImageNet": _blocks(7, 8, 11, 12),
}

QUALITY_TEACHERS: Mapping[str, Mapping[str, tuple[Place, ...]]] = {
    "vgg19": _VGG19_BY_QUALITY,
    "vgg19-paper": _VGG19_BY_QUALITY,
    "resnet34": _RESNET34_BY_QUALITY,
    "resnet34-paper": _RESNET34_BY_QUALITY,
    "vit-base": _VIT_B_BY_QUALITY,
    "vit-base-mean": _VIT_B_BY_QUALITY,
}
"""The four layers of highest knowledge quality that the paper reports, by the teacher's name and the data's."""
