"""How alike a student and its teacher see the same images: linear CKA, and the cosine behind the run's projectors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

from layerprobe.data.loading import Pixels, batches, make_loader
from layerprobe.data.preprocessing import normalize
from layerprobe.distill.full_precision import in_full_precision
from layerprobe.distill.pairing import distinct
from layerprobe.distill.pooling import Pooling
from layerprobe.distill.trained_pair import TrainedPair
from layerprobe.evaluation.cka import cka_of_images
from layerprobe.evaluation.resampling import estimate_mean
from layerprobe.evaluation.subject import Subject
from layerprobe.layers.capture import Capture, Captured
from layerprobe.records import Agreement, Layer, Progress
from layerprobe.records.layers import OUTPUT, output_layer
from layerprobe.settings.evaluate import EvaluateSettings


@torch.no_grad()
def measure_agreement(
    subject: Subject,
    pair: TrainedPair,
    pixels: Pixels,
    config: EvaluateSettings,
    device: torch.device,
    progress: Progress,
) -> tuple[Agreement, ...]:
    """Pass images through both networks and compare every pair of layers, and what the networks return.

    Args:
        subject: the student.
        pair: its teacher, the pairs of layers, and their projectors.
        pixels: the images.
        config: batch size, workers, resamples.
        device: where the networks compute.
        progress: told after every batch.
    """
    teacher = pair.teacher.module.to(device)
    projectors = [projector.to(device) for projector in pair.projectors]
    sides = [_Pooled(subject.layers, pair.pairing.student), _Pooled(pair.teacher.layers, pair.pairing.teacher)]
    cosines: list[list[Tensor]] = [[] for _ in projectors]
    done = 0
    with (
        Capture(subject.module, distinct(pair.pairing.student)) as of_student,
        Capture(teacher, distinct(pair.pairing.teacher)) as of_teacher,
    ):
        for batch in batches(make_loader(pixels, config.batch_size, config.workers)):
            images = normalize(batch.pixels.to(device, non_blocking=True), subject.preprocessing)
            ours, theirs = of_student(images), of_teacher(images)
            for side, captured in zip(sides, (ours, theirs), strict=True):
                side.add(captured)
            for number, (left, right) in enumerate(pair.pairing.names[: len(projectors)]):
                cosines[number].append(
                    cosine_of_images(projectors[number], ours.features[left], theirs.features[right])
                )
            done += len(batch.positions)
            progress("images compared", done, len(pixels))
    names = [*pair.pairing.names, (OUTPUT, OUTPUT)]
    vectors = [side.vectors() for side in sides]
    return tuple(
        _agreement(name, vectors, cosines[number] if number < len(cosines) else (), config)
        for number, name in enumerate(names)
    )


@in_full_precision
def cosine_of_images(projector: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
    """(batch,) float64: the mean over positions of the cosine of the channel vectors there, behind the projector."""
    pair = projector(student, teacher)
    cosine = cosine_similarity(pair[0], pair[1], dim=1)
    return cosine.flatten(1).double().mean(dim=1).cpu() if cosine.ndim > 1 else cosine.double().cpu()


class _Pooled:
    """The pooled features of one network's layers, batch by batch."""

    def __init__(self, layers: Sequence[Layer], chosen: Sequence[Layer]) -> None:
        self._poolings = {layer.name: Pooling(layer.shape) for layer in distinct(chosen)}
        self._layers = layers
        self._parts: dict[str, list[Tensor]] = {name: [] for name in (*self._poolings, OUTPUT)}

    def add(self, captured: Captured) -> None:
        """Take a batch."""
        for name, pooling in self._poolings.items():
            self._parts[name].append(pooling(captured.features[name]).cpu())
        output = captured.logits
        self._parts[OUTPUT].append(Pooling(output_layer(output.shape[1:], self._layers).shape)(output).cpu())

    def vectors(self) -> Mapping[str, Tensor]:
        """(n, D) of every layer, and of what the network returns."""
        return {name: torch.cat(parts) for name, parts in self._parts.items()}


def _agreement(
    name: tuple[str, str],
    vectors: Sequence[Mapping[str, Tensor]],
    cosines: Sequence[Tensor],
    config: EvaluateSettings,
) -> Agreement:
    resampling = config.resamples, config.level, config.seed
    cka = cka_of_images(vectors[0][name[0]], vectors[1][name[1]])
    cosine = estimate_mean(torch.cat(list(cosines)), *resampling) if cosines else None
    return Agreement(*name, estimate_mean(cka, *resampling), cosine)
