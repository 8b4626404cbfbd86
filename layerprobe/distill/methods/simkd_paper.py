"""SimKD as the paper compares it (section 4 of Cooper et al., arXiv 2511.14981).

Features are matched at several pairs of layers. Behind the last of the student's layers come a projector and the
teacher's network from its last paired layer on; cross entropy and KL reach the backbone through both. The released
configurations say that this end learns, and so it does here; in the released code it is given to no optimizer, and the
last paired layer itself is run a second time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace

import torch
from torch import Tensor, nn

from layerprobe.distill.batches import FeatureBatch
from layerprobe.distill.changed_student import ChangedStudent
from layerprobe.distill.losses.mse import mse
from layerprobe.distill.methods.kd import WithDistillation
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.pairing import Pairing
from layerprobe.distill.projectors import ThreeLayerProjector
from layerprobe.distill.spatial import SpatialAligner
from layerprobe.errors import LayerprobeError
from layerprobe.layers.capture import Capture
from layerprobe.layers.cutting import cut_behind, with_other_end
from layerprobe.networks import Network
from layerprobe.records import Layer, Shape
from layerprobe.records.layout import MAP, VECTOR, Layout
from layerprobe.records.run_files import ReusedEnd

_PROJECTOR, _END = "simkd_projector", "simkd_end"
"""Names of the new modules in the student."""


class MatchedFeatures(WithDistillation):
    """Knowledge distillation + projector MSE, mean over the pairs of layers; the last projector is the student's own.

    Args:
        pairing: the pairs of layers; the last of the student's is what its projector gives.
        temperature: of the knowledge distillation.
    """

    def __init__(self, pairing: Pairing, temperature: float) -> None:
        super().__init__(pairing, temperature)
        *earlier, (projected, last) = zip(pairing.student, pairing.teacher, strict=True)
        self.projectors = nn.ModuleList(ThreeLayerProjector(ours.shape, theirs.shape) for ours, theirs in earlier)
        self.align = SpatialAligner(projected.shape, last.shape)

    def feature_terms(self, batch: FeatureBatch) -> dict[str, Tensor]:
        """The term ``features``."""
        bring_together = [*self.projectors, self.align]
        pairs = [make(*pair) for make, *pair in zip(bring_together, batch.student, batch.teacher, strict=True)]
        return {"features": torch.stack([mse(pair.student, pair.teacher) for pair in pairs]).mean()}


class EndProjector(nn.Module):
    """A three-layer projector from the student's features to such as the teacher's layer gives.

    Args:
        student_shape: shape of the student's features for one image.
        teacher_shape: shape of the teacher's, of the same kind; of tokens, with as many.
    """

    def __init__(self, student_shape: Shape, teacher_shape: Shape) -> None:
        super().__init__()
        self.teacher_shape = teacher_shape
        self.projector = ThreeLayerProjector(student_shape, teacher_shape)

    def forward(self, features: Tensor) -> Tensor:
        """(batch, ...) to (batch, ...) in the teacher's layout; a larger map is pooled to the teacher's size."""
        size_alone = features.new_zeros(()).expand(len(features), *self.teacher_shape)
        projected: Tensor = self.projector(features, size_alone).student
        layout = self.teacher_shape.layout
        if layout.kind == VECTOR:
            return projected.flatten(1)
        if layout.is_tokens:
            projected = projected.flatten(2)
        return projected.movedim(1, -1) if layout.channels_last else projected


def reuse_end(student: Network, teacher: Network, pairing: Pairing, seed: int) -> ChangedStudent:
    """Let a student go on, behind its last paired layer, in a projector and the teacher's network.

    Args:
        student: it is changed, and not to be used any more.
        teacher: of the same classes; it is left as it was.
        pairing: the pairs of layers, one to one.
        seed: of the projector's weights.

    Raises:
        LayerprobeError: if one of them can't be cut there, or the teacher's end can't take such features.
    """
    ours, theirs = pairing.student[-1], pairing.teacher[-1]
    _check_layers(ours, theirs)
    about = ReusedEnd(
        teacher=teacher.name,
        classes=teacher.num_classes,
        teacher_layer=theirs.name,
        teacher_shape=tuple(theirs.shape),
        teacher_layout=theirs.layout,
        student_layer=ours.name,
        student_shape=tuple(ours.shape),
        student_layout=ours.layout,
    )
    size = student.preprocessing.image_size
    end = _cut("teacher", lambda: cut_behind(teacher.module, theirs.name)).requires_grad_()
    _check_end(end, teacher, theirs.name, size)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = build_student(student.module, end, about)
    with Capture(module.eval(), [_PROJECTOR]) as capture, torch.no_grad():
        try:
            given = capture(torch.zeros(2, 3, *size)).features[_PROJECTOR]
        except (RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise LayerprobeError(
                f"simkd runs the teacher from {theirs.name!r} on with the student's features of {ours.name!r}, which "
                f"fails ({reason}); choose other layers with --layers and --student-layers"
            ) from error
    projected = Layer(ours.index, _PROJECTOR, ours.kind, _given_shape(given, theirs.layout), ours.parameters)
    seen = Pairing((*pairing.student[:-1], projected), pairing.teacher)
    return ChangedStudent(module, seen, pairing, {"reused_end": asdict(about)}, (_PROJECTOR, _END))


def build_student(student: nn.Module, end: nn.Module, about: ReusedEnd) -> nn.Module:
    """A student with a new projector and a teacher's end behind its last paired layer.

    Raises:
        LayerprobeError: if the student can't be cut there.
    """
    ours, theirs = Shape(about.student_shape, about.student_layout), Shape(about.teacher_shape, about.teacher_layout)
    new = {_PROJECTOR: EndProjector(ours, theirs), _END: end}
    return _cut("student", lambda: with_other_end(student, about.student_layer, new))


def build_student_again(student: nn.Module, teacher: nn.Module, about: ReusedEnd) -> nn.Module:
    """The same from networks of the same architectures, whatever their weights, for weights that are loaded later."""
    return build_student(student, cut_behind(teacher, about.teacher_layer), about)


def _cut(whose: str, make: Callable[[], nn.Module]) -> nn.Module:
    try:
        return make()
    except LayerprobeError as error:
        raise LayerprobeError(
            f"simkd lets the student go on in the teacher's network behind the last paired layers, but of the {whose} "
            f"{error}; choose other layers with --layers and --student-layers, or take another method"
        ) from error


def _check_layers(ours: Layer, theirs: Layer) -> None:
    for layer in (ours, theirs):
        if layer.folded or layer.batch_axis:
            raise LayerprobeError(
                f"simkd needs layers whose first axis counts the images, and {layer.name!r} has another there; choose "
                "other layers with --layers and --student-layers, or take another method"
            )
    tokens = ours.layout.is_tokens or theirs.layout.is_tokens
    alike = ours.layout == theirs.layout and len(ours.shape) == 2 if tokens else ours.layout.kind == theirs.layout.kind
    if not alike:
        raise LayerprobeError(
            f"simkd runs the teacher on the student's features, but {ours.name!r} gives {tuple(ours.shape)} and "
            f"{theirs.name!r} {tuple(theirs.shape)}; pair two maps, two vectors, or as many tokens of one layout "
            "with --layers and --student-layers, or take another method"
        )


def _given_shape(features: Tensor, layout: Layout) -> Shape:
    """The shape of features that are laid out as the teacher's, at their own size."""
    sizes = tuple(features.shape[1:])
    if layout.kind != MAP:
        return Shape(sizes, layout)
    height, width = sizes[:2] if layout.channels_last else sizes[1:]
    return Shape(sizes, replace(layout, height=height, width=width))


def _check_end(end: nn.Module, teacher: Network, layer: str, size: tuple[int, int]) -> None:
    """Make sure that a teacher's end does what the teacher does behind that layer."""
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    with Capture(teacher.module, [layer]) as capture, torch.no_grad():
        captured = capture(images)
        again = end.eval()(captured.features[layer])
    if not isinstance(again, Tensor) or not torch.allclose(again, captured.logits, rtol=1e-4, atol=1e-5):
        raise LayerprobeError(
            f"simkd runs the teacher from {layer!r} on, but {teacher.name} cut there gives other logits than as a "
            "whole; choose another last layer with --layers, or take another method"
        )


def build(context: ObjectiveContext, *, temperature: float) -> MatchedFeatures:
    """The objective of ``simkd`` as the paper compares it."""
    return MatchedFeatures(context.pairing, temperature)
