"""A teacher's layers chosen by a rule, for a distillation that names the rule and not the layers."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from layerprobe.data.datasets import open_split
from layerprobe.distill.layer_pairs import choose_student_layers
from layerprobe.errors import LayerprobeError
from layerprobe.features.hdf5.gram_file import GramFile
from layerprobe.networks import RANDOM, Network, find_model_layers, load_network
from layerprobe.ranking.choose import SCORES
from layerprobe.ranking.grams import extract_grams
from layerprobe.ranking.measure import layer_similarity
from layerprobe.ranking.rank import rank
from layerprobe.ranking.rules import RULES, Task, scored_rule
from layerprobe.records import Layer, LayerGeometry, Preprocessing, Progress, Ranking, Similarity, silent
from layerprobe.runtime.devices import resolve_device
from layerprobe.settings.extract import ExtractSettings
from layerprobe.settings.layer_choice import LayerChoice
from layerprobe.settings.model import ModelSettings
from layerprobe.settings.run import DistillSettings

_log = logging.getLogger(__name__)


def choose_layers(
    plan: DistillSettings, ranking: Ranking | None = None, progress: Progress = silent
) -> DistillSettings:
    """A distillation with its teacher's layers by name, where it had a rule such as ``stagewise:4``.

    Args:
        plan: the distillation.
        ranking: of the teacher's layers; None: they are ranked now, if the rule looks at a score.
        progress: told while images pass through, and before every layer.

    Returns:
        The plan as it is, where its ``layers`` are no rule.

    Raises:
        LayerprobeError: if the rule can't choose so many layers, or as ``check_ranking``, ``rank_on_the_spot`` and
            ``student_similarity``.
    """
    choice = plan.layers.rule if plan.layers else None
    if choice is None:
        return plan
    rule = RULES[choice.name]
    if rule.score is None:
        ranking = _unranked(plan)
    elif ranking is None:
        ranking = _ranked(plan, rule.score, choice.count, progress)
    else:
        check_ranking(ranking, plan)
    student = untrained_student(plan)
    taught = choose_student_layers(student, plan.student_layers, choice.count)
    similarity = _similarity(plan, taught, progress) if rule.similarity else None
    chosen = rule.choose(Task(ranking, student.layers, taught, _generator(plan), similarity))
    _log.info("chosen by %s: %s", choice.name, ", ".join(chosen))
    if ranking.undecided and rule.score and ranking.selected == chosen:
        _log.info("can't be told apart from the last of these: %s", ", ".join(ranking.undecided))
    return plan.replaced(layers=LayerChoice.of(chosen))


def check_ranking(ranking: Ranking, plan: DistillSettings, name: str = "the ranking") -> None:
    """Make sure that a ranking is of a distillation's teacher, and holds what its rule looks at.

    Args:
        ranking: of the teacher's layers.
        plan: the distillation; weights are compared where its teacher's ``weights_sha256`` is known.
        name: of the ranking, for messages.

    Raises:
        LayerprobeError: if it isn't, or doesn't.
    """
    model, digest = ranking.provenance.get("model"), ranking.provenance.get("weights_sha256")
    if model not in (None, plan.teacher.name):
        raise LayerprobeError(f"{name} is of {model}; the teacher is {plan.teacher.name}; name its own ranking")
    if None not in (digest, plan.teacher.weights_sha256) and digest != plan.teacher.weights_sha256:
        raise LayerprobeError(
            f"{name} is of {model} with other weights than the teacher's ({plan.teacher.weights}): SHA-256 "
            f"{str(digest)[:12]}, not {str(plan.teacher.weights_sha256)[:12]}; rank these weights"
        )
    by = scored_rule(plan)
    score = SCORES[by] if by else None
    if score and not all(score.statistic in geometry.statistics for geometry in ranking.geometries):
        remedy = f" --statistics {score.family}" if score.family else ""
        raise LayerprobeError(
            f"{name} has no {score.statistic}, which {plan.layers} looks at; `layerprobe rank FEATURES.h5{remedy}` "
            "measures it"
        )


def rank_on_the_spot(
    config: ExtractSettings,
    top: int = 4,
    by: str = "quality",
    families: Sequence[str] = (),
    resamples: int = 200,
    progress: Progress = silent,
) -> Ranking:
    """Rank the layers of a network without a feature file.

    The Gram matrices lie in a temporary folder meanwhile: 50 MB per layer for 5,000 images.

    Args:
        config: the network and the images; its ``output`` is not used.
        top: how many layers to choose.
        by: a key of ``SCORES``.
        families: further statistics.
        resamples: draws for the intervals; 0: none.
        progress: told while images pass through, and before every layer.

    Raises:
        LayerprobeError: as ``extract_grams`` and ``rank``.
    """
    device = resolve_device(config.device)
    with (
        tempfile.TemporaryDirectory() as folder,
        extract_grams(config.replaced(output=Path(folder) / "grams.h5"), progress=progress) as grams,
    ):
        return rank(grams, top, by, resamples, families=families, device=device, progress=progress)


def teacher_sample(plan: DistillSettings) -> ExtractSettings:
    """The teacher and the images that its layers are ranked on: the sample that `layerprobe extract` draws."""
    return ExtractSettings(model=plan.teacher, data=plan.data, output=plan.output, device=plan.training.device)


def student_similarity(
    teacher: GramFile,
    sample: ExtractSettings,
    student: ModelSettings,
    layers: Sequence[str],
    progress: Progress = silent,
) -> Similarity:
    """What a teacher's layers have in common with those of its untrained student: linear CKA.

    Args:
        teacher: its layers.
        sample: the teacher and the images that ``teacher`` was made of.
        student: the network; its weights don't matter. It sees the images as its teacher does, as in a distillation.
        layers: names of its layers.
        progress: told while images pass through, and before every layer.

    Raises:
        LayerprobeError: as ``extract_grams``.
    """
    like = Preprocessing.from_dict(teacher.provenance["preprocessing"])
    data = sample.data.replaced(image_size=like.image_size[0], mean=like.mean, std=like.std)
    with tempfile.TemporaryDirectory() as folder:
        config = sample.replaced(
            model=student.replaced(weights=RANDOM),
            data=data,
            output=Path(folder) / "student.h5",
            layers=LayerChoice.of(layers),
        )
        with extract_grams(config, progress=progress) as own:
            return layer_similarity(teacher, own, device=resolve_device(sample.device), progress=progress)


def untrained_student(plan: DistillSettings) -> Network:
    """The student of a distillation, with random weights."""
    dataset = open_split(plan.data, "train")
    spec = plan.student.replaced(weights=RANDOM, num_classes=plan.student.num_classes or len(dataset.classes))
    return load_network(spec, plan.data, dataset)


def _ranked(plan: DistillSettings, score: str, count: int, progress: Progress) -> Ranking:
    family = SCORES[score].family
    families = (family,) if family else ()
    return rank_on_the_spot(teacher_sample(plan), count, score, families, progress=progress)


def _generator(plan: DistillSettings) -> torch.Generator:
    """For a rule that draws: of the seed and the pair, so that pairs with one teacher don't draw the same sets."""
    told = f"{plan.training.seed} {plan.teacher.name} {plan.student.name}"
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(told.encode()).digest()[:7], "big"))


def _similarity(plan: DistillSettings, taught: Sequence[Layer], progress: Progress) -> Similarity:
    sample = teacher_sample(plan)
    with (
        tempfile.TemporaryDirectory() as folder,
        extract_grams(sample.replaced(output=Path(folder) / "teacher.h5"), progress=progress) as grams,
    ):
        return student_similarity(grams, sample, plan.student, [layer.name for layer in taught], progress)


def _unranked(plan: DistillSettings) -> Ranking:
    """The teacher's layers, of which nothing is known."""
    found = find_model_layers(plan.teacher.name, plan.teacher.num_classes, plan.data.image_size)
    return Ranking(tuple(LayerGeometry(layer, {}) for layer in found.layers), "", ())
