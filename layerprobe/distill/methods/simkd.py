"""Knowledge distillation with the reused teacher classifier: SimKD (Chen et al., CVPR 2022, arXiv 2203.14001)."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn

from layerprobe.distill.batches import FeatureBatch
from layerprobe.distill.changed_student import ChangedStudent
from layerprobe.distill.losses.mse import mse
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.objectives import FeatureObjective
from layerprobe.distill.pairing import Pairing
from layerprobe.distill.spatial import SpatialAligner
from layerprobe.errors import LayerprobeError
from layerprobe.layers.ending import Ending, find_ending
from layerprobe.networks import Network
from layerprobe.records import Layer, Shape
from layerprobe.records.layout import MAP, VECTOR, Layout

_REDUCTION = 2
"""The teacher's channels / those in the middle of the projector (r of the publication)."""


class MatchedEnding(FeatureObjective):
    """Mean squared error between the student's projected last map and the teacher's (equation 3 of the publication).

    The student ends in a projector and the teacher's classifier (``reuse_classifier``), which the publication keeps as
    it is. Version 0.1.0 fine-tuned it, with cross entropy on detached features; this is the setting ``fine-tuned``. The
    projector being a part of the student, a larger map is pooled to the teacher's size behind it; the publication pools
    before it.

    Args:
        pairing: the layer of the projected map, and the teacher's.
        classifier_learns: whether the classifier is fine-tuned.
    """

    def __init__(self, pairing: Pairing, classifier_learns: bool = False) -> None:
        super().__init__()
        self.classifier_learns = classifier_learns
        self.align = SpatialAligner(pairing.student[0].shape, pairing.teacher[0].shape)

    def forward(self, batch: FeatureBatch) -> dict[str, Tensor]:
        """The term ``features``."""
        pair = self.align(batch.student[0], batch.teacher[0])
        return {"features": mse(pair.student, pair.teacher)}


class BottleneckProjector(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with batch normalization and ReLU, through half of the teacher's channels.

    Args:
        ours: channels of the student.
        theirs: channels of the teacher.
        signed: whether the teacher's features have negative values: then the last ReLU is left out.
    """

    def __init__(self, ours: int, theirs: int, signed: bool) -> None:
        super().__init__()
        middle = max(theirs // _REDUCTION, 1)
        modules: list[nn.Module] = []
        for channels, out, side in ((ours, middle, 1), (middle, middle, 3), (middle, theirs, 1)):
            modules += [nn.Conv2d(channels, out, side, padding=side // 2, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
        self.layers = nn.Sequential(*modules[: -1 if signed else None])

    def forward(self, features: Tensor) -> Tensor:
        """(batch, channels, height, width) to as many maps of the teacher's channels; vectors to vectors."""
        if features.ndim == 2:
            return self.forward(features[:, :, None, None])[:, :, 0, 0]
        projected: Tensor = self.layers(features)
        return projected


@dataclass(frozen=True)
class ReusedEnding:
    """Everything but the weights that a student's new ending is built from.

    Attributes:
        classifier: dotted path of the student's classifier, which is replaced.
        last_map: dotted path of the student's module whose map is projected; empty: the projector takes what entered
            the classifier.
        channels: of that map, or length of that vector.
        width: what the teacher's classifier reads.
        classes: what it gives.
        bias: whether it has one.
        signed: see ``BottleneckProjector``.
    """

    classifier: str
    last_map: str
    channels: int
    width: int
    classes: int
    bias: bool
    signed: bool

    @property
    def projector(self) -> str:
        """Dotted path of the projector."""
        return f"{self.last_map or self.classifier}.projector"

    @property
    def head(self) -> str:
        """Dotted path of the new classifier."""
        return self.classifier if self.last_map else f"{self.classifier}.classifier"

    def build(self, student: nn.Module) -> None:
        """Make a student end like this, in place, with random weights."""
        projector = BottleneckProjector(self.channels, self.width, self.signed)
        head = nn.Linear(self.width, self.classes, self.bias)
        if self.last_map:
            inner = student.get_submodule(self.last_map)
            student.set_submodule(self.last_map, nn.Sequential(OrderedDict(map=inner, projector=projector)))
            student.set_submodule(self.classifier, head)
        else:
            both = nn.Sequential(OrderedDict(projector=projector, classifier=head))
            student.set_submodule(self.classifier, both)


def reuse_classifier(
    student: nn.Module, teacher: nn.Module, image_size: tuple[int, int], seed: int
) -> tuple[ReusedEnding, Pairing]:
    """Make a student end in a projector and a copy of the teacher's classifier, in place.

    Args:
        student: an image classifier.
        teacher: another, of the same classes.
        image_size: height and width of their input in pixels.
        seed: of the projector's weights.

    Returns:
        What the ending is built from, and the layers to be matched.

    Raises:
        LayerprobeError: if either doesn't end in a linear classifier.
    """
    ours, theirs = _ending(student, image_size, "student"), _ending(teacher, image_size, "teacher")
    reused = teacher.get_submodule(theirs.classifier)
    if not isinstance(reused, nn.Linear):
        raise TypeError(f"{theirs.classifier} is not linear")
    ending = ReusedEnding(
        classifier=ours.classifier,
        last_map=ours.last_map,
        channels=ours.shape[0],
        width=reused.in_features,
        classes=reused.out_features,
        bias=reused.bias is not None,
        signed=theirs.signed,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        ending.build(student)
    student.get_submodule(ending.head).load_state_dict(reused.state_dict())
    projected = _layer(ending.projector, (ending.width, *ours.shape[1:]))
    return ending, Pairing((projected,), (_layer(theirs.layer, theirs.shape),))


def reuse_frozen(student: Network, teacher: Network, pairing: Pairing, seed: int) -> ChangedStudent:
    """The student of ``simkd`` as published: the teacher's classifier stays as it is."""
    changed, ending = _changed(student, teacher, seed)
    changed.module.get_submodule(ending.head).requires_grad_(False)
    return changed


def reuse_to_tune(student: Network, teacher: Network, pairing: Pairing, seed: int) -> ChangedStudent:
    """The student of ``simkd`` as version 0.1.0 had it: the classifier learns."""
    return _changed(student, teacher, seed)[0]


def _changed(student: Network, teacher: Network, seed: int) -> tuple[ChangedStudent, ReusedEnding]:
    ending, pairing = reuse_classifier(student.module, teacher.module, student.preprocessing.image_size, seed)
    new = (ending.head, ending.projector)
    return ChangedStudent(student.module, pairing, pairing, {"ending": asdict(ending)}, new), ending


def _ending(network: nn.Module, image_size: tuple[int, int], whose: str) -> Ending:
    try:
        return find_ending(network, image_size)
    except LayerprobeError as error:
        raise LayerprobeError(
            f"simkd puts the teacher's classifier in the place of the student's, but of the {whose} {error}; "
            "take another method"
        ) from error


def _layer(name: str, shape: tuple[int, ...]) -> Layer:
    if len(shape) == 1:
        return Layer(0, name, "feature", Shape(shape, Layout(VECTOR)), 0)
    return Layer(0, name, "block", Shape(shape, Layout(MAP, shape[1], shape[2])), 0)


def build(context: ObjectiveContext) -> MatchedEnding:
    """The objective of ``simkd`` as published."""
    return MatchedEnding(context.pairing)


def build_fine_tuned(context: ObjectiveContext) -> MatchedEnding:
    """The objective of ``simkd`` as version 0.1.0 had it."""
    return MatchedEnding(context.pairing, classifier_learns=True)
