"""Rules resolved: a teacher's layers by name, for a distillation that names a rule."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from layerprobe.data.datasets import open_quietly, open_split
from layerprobe.distill.layer_pairs import choose_student_layers
from layerprobe.distill.ranking_check import check_source
from layerprobe.errors import LayerprobeError
from layerprobe.features.hdf5.gram_file import GramFile
from layerprobe.geometry.catalogue import ALWAYS, SCORES, UNMEASURED, needs_views
from layerprobe.networks import Network, find_model_layers, load_network
from layerprobe.plugins import file_sha256, split_file_name
from layerprobe.ranking.catalogue import RULES, Rule
from layerprobe.ranking.grams import extract_grams
from layerprobe.ranking.problem import SelectionProblem, apply_rule
from layerprobe.ranking.rank import rank_model
from layerprobe.ranking.similarity import layer_similarity
from layerprobe.records import Layer, LayerGeometry, Progress, Ranking, Similarity, silent
from layerprobe.runtime.devices import resolve_device
from layerprobe.settings.base import errors_of_part
from layerprobe.settings.extract import ExtractSettings
from layerprobe.settings.layer_choice import LayerChoice
from layerprobe.settings.model import RANDOM, ModelSettings
from layerprobe.settings.run import DistillSettings

_log = logging.getLogger(__name__)


def resolve_rules(
    plan: DistillSettings, ranking: Ranking | None = None, progress: Progress = silent, name: str = "the ranking"
) -> DistillSettings:
    """A distillation with its teacher's layers by name, where it had a rule such as ``stagewise:4``.

    Args:
        plan: the distillation.
        ranking: of the teacher's layers; None: they are ranked now, if the rule looks at a score.
        progress: told while images pass through, and before every layer.
        name: of the ranking, for messages.

    Returns:
        The plan as it is, where its ``layers`` are no rule.

    Raises:
        LayerprobeError: if the rule can't choose so many layers, or as ``check_source``, ``check_ranking``,
            ``rank_model`` and ``student_similarity``.
    """
    choice = plan.layers.rule if plan.layers else None
    if plan.spectrum_samples and not scored_rule(plan):
        _log.warning("--spectrum-samples is not used: no rule measures the teacher's layers")
    if choice is None:
        return plan
    rule = RULES.find(choice.name)
    if ranking is not None and rule.score:
        check_ranking(ranking, plan, name)
        check_source(ranking, _load_teacher(plan), plan, name)
    ranking = _ranking_for(rule, choice.count, plan, ranking, progress)
    student = untrained_student(plan)
    learning = choose_student_layers(student, plan.student_layers, choice.count)
    similarity = _similarity(plan, learning, progress) if rule.similarity else None
    chosen = apply_rule(rule, SelectionProblem(ranking, student.layers, learning, _generator(plan), similarity))
    _log.info("chosen by %s: %s", rule.name, ", ".join(chosen))
    if ranking.undecided and rule.score and ranking.selected == chosen:
        _log.info("can't be told apart from the last of these: %s", ", ".join(ranking.undecided))
    return plan.replaced(layers=LayerChoice.of(chosen, chosen_by=choice))


def scored_rule(plan: DistillSettings) -> str:
    """The score that the rule of a distillation looks at; empty where its layers are chosen in another way.

    Raises:
        LayerprobeError: if the rule is a user's own, and its file can't be run.
    """
    return RULES.find(plan.layers.rule.name).score if plan.layers and plan.layers.rule else ""


def _ranking_for(rule: Rule, count: int, plan: DistillSettings, ranking: Ranking | None, progress: Progress) -> Ranking:
    """The ranking that is given, or a new one; of a rule that looks at no score the teacher's layers alone."""
    if not rule.score:
        found = find_model_layers(plan.teacher.name, plan.teacher.num_classes, plan.data.image_size)
        return Ranking(tuple(LayerGeometry(layer, {}) for layer in found), "", ())
    if ranking is None:
        check_one_view(plan)
        return rank_model(teacher_sample(plan), count, rule.score, progress=progress)
    return ranking


def check_one_view(plan: DistillSettings) -> None:
    """Refuse a rule without a ranking that would compare two views of the images, of which a run has one.

    Raises:
        LayerprobeError: if so.
    """
    if (score := scored_rule(plan)) and needs_views(SCORES.find(score)):
        raise LayerprobeError(
            f"{plan.layers} looks at {score}, which compares two views of the images; rank the teacher with "
            "--second-view first, and name the ranking file (--layers FILE.ranking.json, in a grid ranking: FILE)"
        )


def check_ranking(ranking: Ranking, plan: DistillSettings, name: str = "the ranking") -> None:
    """Make sure that a ranking holds what the rule of a distillation looks at.

    Args:
        ranking: of the teacher's layers.
        plan: the distillation.
        name: of the ranking, for messages.

    Raises:
        LayerprobeError: if it doesn't.
    """
    of_spectra = (ranking.provenance.get("spectrum_sample") or {}).get("requested")
    if plan.spectrum_samples not in (None, of_spectra):
        raise LayerprobeError(
            f"{name} has spectra of {f'up to {of_spectra} images of a class' if of_spectra else 'one sample for all'}, "
            f"not of up to {plan.spectrum_samples}; rank features of `layerprobe extract --spectrum-samples "
            f"{plan.spectrum_samples}`, or leave the number out"
        )
    score = scored_rule(plan)
    if score and not all(score in geometry.statistics for geometry in ranking.geometries):
        family = SCORES.find(score).family
        remedy = f" --statistics {family}" if family not in (ALWAYS, UNMEASURED) else ""
        raise LayerprobeError(
            f"{name} has no {score}, which {plan.layers} looks at; `layerprobe rank FEATURES.h5{remedy}` measures it"
        )
    if score and split_file_name(score) and ranking.provenance.get("plugins", {}).get(score) != file_sha256(score):
        raise LayerprobeError(f"{name} has {score} as its file was before it changed; rank the teacher again")


def teacher_sample(plan: DistillSettings) -> ExtractSettings:
    """The teacher and the images that its layers are ranked on: the samples that `layerprobe extract` draws."""
    return ExtractSettings(
        model=plan.teacher,
        data=plan.data,
        output=plan.output,
        device=plan.training.device,
        spectrum_samples=plan.spectrum_samples,
    )


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
    data = sample.data.seen_as(teacher.header.preprocessing)
    with tempfile.TemporaryDirectory() as folder:
        config = sample.replaced(
            model=student.replaced(weights=RANDOM, adapt=None),
            data=data,
            output=Path(folder) / "student.h5",
            layers=LayerChoice.of(layers),
            spectrum_samples=None,
        )
        with extract_grams(config, progress=progress) as own:
            return layer_similarity(teacher, own, device=resolve_device(sample.device), progress=progress)


def _load_teacher(plan: DistillSettings) -> Network:
    with errors_of_part("teacher"):
        images = open_quietly(plan.data, "train")
        return load_network(plan.teacher, plan.data, images)


def untrained_student(plan: DistillSettings) -> Network:
    """The student of a distillation, with random weights."""
    dataset = open_split(plan.data, "train")
    classes = plan.student.num_classes
    spec = plan.student.replaced(
        weights=RANDOM, adapt=None, num_classes=len(dataset.classes) if classes is None else classes
    )
    with errors_of_part("student"):
        return load_network(spec, plan.data, dataset)


def _generator(plan: DistillSettings) -> torch.Generator:
    """For a rule that draws: of the seed and the pair, so that pairs with one teacher don't draw the same sets."""
    told = f"{plan.training.seed} {plan.teacher.name} {plan.student.name}"
    return torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(told.encode()).digest()[:7], "big"))


def _similarity(plan: DistillSettings, learning: Sequence[Layer], progress: Progress) -> Similarity:
    sample = teacher_sample(plan).replaced(spectrum_samples=None)
    with (
        tempfile.TemporaryDirectory() as folder,
        extract_grams(sample.replaced(output=Path(folder) / "teacher.h5"), progress=progress) as grams,
    ):
        return student_similarity(grams, sample, plan.student, [layer.name for layer in learning], progress)
