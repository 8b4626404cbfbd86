"""A network on a data set, by its features and beside its teacher: no classifier is needed."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from layerprobe.data.image_dataset import ImageDataset
from layerprobe.distill.folder import HEAD
from layerprobe.distill.headed import write_head
from layerprobe.distill.pooling import Pooling
from layerprobe.distill.trained_pair import load_trained_pair
from layerprobe.errors import LayerprobeError
from layerprobe.evaluation.agreement import measure_agreement
from layerprobe.evaluation.catalogue import AGREEMENT, Evaluator
from layerprobe.evaluation.features import ImageFeatures, choose_images, choose_poolings, collect_features
from layerprobe.evaluation.probe import LinearFit
from layerprobe.evaluation.resampling import estimate_percent
from layerprobe.evaluation.subject import Subject
from layerprobe.evaluation.ways import Evidence, Verdict
from layerprobe.networks import Network
from layerprobe.records import Agreement, FeatureEvaluation, Progress, Score, silent
from layerprobe.runtime.devices import resolve_device
from layerprobe.runtime.lack_of_memory import explaining_lack_of_memory
from layerprobe.settings.base import SettingsError
from layerprobe.settings.evaluate import EvaluateSettings

_log = logging.getLogger(__name__)


@explaining_lack_of_memory
def evaluate_features(
    config: EvaluateSettings, ways: Sequence[Evaluator], subject: Subject, progress: Progress = silent
) -> FeatureEvaluation:
    """Evaluate a network by its features: k-NN, linear probe, retrieval, agreement with its teacher.

    Args:
        config: which images and layers, and how.
        ways: those that look at features; others are passed over.
        subject: the network.
        progress: told after every batch and fit.

    Raises:
        LayerprobeError: if there is no such layer, the images have no classes, or the run has no teacher.
    """
    check_head(config, ways)
    _log.info("preprocessing: %s", subject.preprocessing.describe(), extra={"once": True})
    device = resolve_device(config.device)
    subject.module.to(device)
    dataset = subject.open(config.split)
    of_layer = [way for way in ways if way.of_layer]
    scores, trained_on = _scores(config, of_layer, subject, dataset, device, progress) if of_layer else ((), 0)
    compared = any(way.name == AGREEMENT for way in ways)
    return FeatureEvaluation(
        name=subject.name,
        dataset=dataset.name,
        split=dataset.split,
        classes=dataset.classes,
        train_images=trained_on,
        scores=scores,
        agreement=_agreement(config, subject, dataset, device, progress) if compared else (),
        level=config.level,
        resamples=config.resamples,
        seed=config.seed,
    )


def check_head(config: EvaluateSettings, ways: Sequence[Evaluator]) -> None:
    """Refuse to keep a probe that there isn't, or where something else lies, before any work is done.

    Raises:
        LayerprobeError: if so.
    """
    if not config.save_head:
        return
    if not any(way.name == "probe" for way in ways):
        raise SettingsError("<save_head> keeps the linear probe; give <by> probe")
    if config.folder is None:
        raise SettingsError("<save_head> needs a folder to write to; give <output>")
    if (path := config.folder / HEAD).exists() and not config.overwrite:
        raise SettingsError(f"{path} exists; <overwrite> replaces it, another <output> leaves it")


def _scores(
    config: EvaluateSettings,
    ways: Sequence[Evaluator],
    subject: Subject,
    dataset: ImageDataset,
    device: torch.device,
    progress: Progress,
) -> tuple[tuple[Score, ...], int]:
    """The scores of every layer, and how many training images they took."""
    if not dataset.classes:
        names = ", ".join(way.name for way in ways)
        raise SettingsError(f"<by> {names} compares classes, and {dataset.name} has none; give <data> that has labels")
    poolings = choose_poolings(subject, config)
    if config.save_head and len(poolings) > 1:
        raise SettingsError(f"<save_head> keeps the probe of one layer, and <layers> names {len(poolings)}; name one")
    test = _collect(config, subject, dataset, config.samples, poolings, device, progress)
    train = None
    if any(way.learns for way in ways):
        train_split = subject.open("train")
        if train_split.classes != dataset.classes:
            raise LayerprobeError(f"the training and test images of {dataset.name} have different classes")
        train = _collect(config, subject, train_split, config.train_samples, poolings, device, progress)
    found = []
    for layer, pooling in poolings.items():
        for way in ways:
            started = time.perf_counter()
            verdict: Verdict = way.load()(_evidence(train, test, layer, len(dataset.classes), config, device, progress))
            seconds = time.perf_counter() - started
            found.append(_score(way, layer, pooling, verdict, test.labels, len(dataset.classes), config, seconds))
            if config.save_head and verdict.fit and config.folder:
                _save_head(config.folder / HEAD, subject, layer, pooling, verdict.fit, dataset)
    return tuple(found), len(train.labels) if train else 0


def _collect(
    config: EvaluateSettings,
    subject: Subject,
    dataset: ImageDataset,
    samples: int | None,
    poolings: Mapping[str, Pooling],
    device: torch.device,
    progress: Progress,
) -> ImageFeatures:
    pixels = choose_images(subject, dataset, samples, config, progress)
    return collect_features(subject, pixels, poolings, config, device, progress, f"{dataset.split} images seen")


def _evidence(
    train: ImageFeatures | None,
    test: ImageFeatures,
    layer: str,
    classes: int,
    config: EvaluateSettings,
    device: torch.device,
    progress: Progress,
) -> Evidence:
    return Evidence(
        train=train.layers[layer] if train else torch.empty(0, 0),
        train_labels=train.labels if train else torch.empty(0, dtype=torch.int64),
        test=test.layers[layer],
        test_labels=test.labels,
        classes=classes,
        settings=config,
        device=device,
        progress=progress,
    )


def _score(
    way: Evaluator,
    layer: str,
    pooling: Pooling,
    verdict: Verdict,
    labels: Tensor,
    classes: int,
    config: EvaluateSettings,
    seconds: float,
) -> Score:
    tokens = {"tokens": pooling.tokens} if pooling.tokens else {}
    return Score(
        by=way.name,
        layer=layer,
        dimension=pooling.dimension,
        facts={**tokens, **verdict.facts},
        overall=estimate_percent(verdict.values, config),
        classes=tuple(estimate_percent(verdict.values[labels == label], config) for label in range(classes)),
        seconds=seconds,
    )


def _save_head(
    path: Path, subject: Subject, layer: str, pooling: Pooling, fit: LinearFit, dataset: ImageDataset
) -> None:
    header = {
        "model": subject.told,
        "layer": layer,
        "tokens": pooling.tokens,
        "data": dataset.name,
        "penalty": f"{fit.penalty:g}",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_head(path, subject.sha256, header, fit.weight, fit.bias, dataset.classes)


def _agreement(
    config: EvaluateSettings, subject: Subject, dataset: ImageDataset, device: torch.device, progress: Progress
) -> tuple[Agreement, ...]:
    if config.run is None:
        raise SettingsError("<by> agreement compares the student of a run with its teacher; name a <run>")
    shape = subject.discovery.returned
    student = Network(
        name=subject.told,
        module=subject.module,
        weights=config.which,
        weights_sha256=subject.sha256,
        preprocessing=subject.preprocessing,
        layers=subject.layers,
        num_classes=shape[-1] if subject.discovery.has_classifier else 0,
    )
    pair = load_trained_pair(config.run, student, dataset, config.which, config.allow_code)
    pixels = choose_images(subject, dataset, config.samples, config, progress)
    return measure_agreement(subject, pair, pixels, config, device, progress)
