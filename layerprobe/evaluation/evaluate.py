"""A network on a data set, by its classifier."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import torch

from layerprobe.data.loading import make_loader
from layerprobe.distill.students import read_description, weights_path
from layerprobe.evaluation.catalogue import CLASSIFIER, EVALUATORS, Evaluator
from layerprobe.evaluation.confusion import confusion
from layerprobe.evaluation.features import choose_images
from layerprobe.evaluation.resampling import estimate_percent
from layerprobe.evaluation.subject import Subject, check_classes, has_classifier, load_subject, with_head
from layerprobe.files import sha256
from layerprobe.records import Evaluation, Progress, Score, silent
from layerprobe.runtime.devices import resolve_device
from layerprobe.runtime.lack_of_memory import explaining_lack_of_memory
from layerprobe.settings.evaluate import EvaluateSettings

_log = logging.getLogger(__name__)

TOP = 5


def chosen_ways(config: EvaluateSettings) -> tuple[Evaluator, ...]:
    """The ways of evaluation: those that are asked for, else the classifier, else k-NN and a probe.

    Raises:
        LayerprobeError: if the folder holds no run or no such weights.
    """
    default = (CLASSIFIER,) if config.by is None and has_classifier(config) else ("knn", "probe")
    return tuple(EVALUATORS[name] for name in dict.fromkeys(config.by or default))


@explaining_lack_of_memory
def evaluate(config: EvaluateSettings, progress: Progress = silent, subject: Subject | None = None) -> Evaluation:
    """Classify images with a network's classifier, under the network's own preprocessing.

    Args:
        config: which network, which images.
        progress: told after every batch.
        subject: the network, where it is loaded already.

    Raises:
        LayerprobeError: if the folder holds no run or no such weights, or the images have other classes.
    """
    subject = subject or load_subject(config)
    if config.head is not None:
        subject = with_head(subject, config.head)
    dataset = subject.open(config.split)
    check_classes(subject, dataset.classes)
    _log.info("preprocessing: %s", subject.preprocessing.describe(), extra={"once": True})
    pixels = choose_images(subject, dataset, config.samples, config, progress)
    device, classes = resolve_device(config.device), len(dataset.classes)
    loader = make_loader(pixels, config.batch_size, config.workers)
    matrix, among = confusion(subject.module.to(device), loader, subject.preprocessing, device, classes, TOP, progress)
    return Evaluation(
        name=subject.name,
        dataset=dataset.name,
        split=dataset.split,
        classes=dataset.classes,
        confusion=matrix,
        top5=100 * among / len(pixels) if classes > TOP else None,
    )


def classifier_score(evaluation: Evaluation, config: EvaluateSettings) -> Score:
    """The accuracy of a classifier with its intervals, of all images and of every class."""
    rows = [
        torch.cat([torch.ones(int(row[number])), torch.zeros(int(row.sum() - row[number]))]).double()
        for number, row in enumerate(evaluation.confusion)
    ]
    return Score(
        CLASSIFIER,
        "",
        0,
        {},
        estimate_percent(torch.cat(rows), config),
        tuple(estimate_percent(row, config) for row in rows),
        0.0,
    )


def evaluated(config: EvaluateSettings) -> str:
    """Which weights are evaluated on which images: what a result shows, in any form.

    Raises:
        LayerprobeError: if the folder holds no run or no such weights.
    """
    data, told = config.data, ""
    if config.model is not None:
        file = Path(config.model.weights or "")
        told = json.dumps([config.model.plain(), sha256(file) if file.is_file() else ""], sort_keys=True)
    elif config.run is not None:
        settings, _ = read_description(config.run)
        told, data = sha256(weights_path(config.run, config.which, settings.command)), data or settings.data
    named = [data.name, str(data.data_root)] if data else []
    head = [sha256(config.head)] if config.head else []
    return json.dumps([told, *named, config.split, config.samples, *head])
