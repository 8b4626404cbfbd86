"""The page about a run: what was done, what came of it, and how to use the network."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from layerprobe.distill.alignments.catalogue import ONE_TO_ONE
from layerprobe.records import EpochMetrics, Evaluation, FeatureEvaluation, Run
from layerprobe.records.run_files import RunDescription
from layerprobe.report.figures.confusion import confusion_figure
from layerprobe.report.figures.curves import curves_figure
from layerprobe.report.figures.style import COLUMN_WIDTH
from layerprobe.report.html.page import Figure, Page, Section
from layerprobe.report.html.pictures import columns_of, draw_pictures
from layerprobe.report.tables.evaluations import agreement_table, class_table, evaluation_table, score_table
from layerprobe.report.tables.runs import run_table
from layerprobe.report.tables.table import Column, Table
from layerprobe.settings.model import ModelSettings
from layerprobe.settings.run import DistillSettings, TrainSettings


def run_page(
    run: Run,
    settings: TrainSettings | DistillSettings,
    about: RunDescription,
    snippet: str,
    evaluate: str,
    evaluations: Mapping[str, Evaluation],
    mark: str = "",
    style: Path | None = None,
    features: Mapping[str, FeatureEvaluation] = {},
) -> Page:
    """The page about a finished run.

    Args:
        run: the run.
        settings: that it was told.
        about: what it says about itself.
        snippet: Python that loads its network.
        evaluate: the command that leaves a table of classes.
        evaluations: of its classifier that were left, by what they are of.
        mark: of the page.
        style: a matplotlib style sheet that is laid over the house style.
        features: evaluations of its features that were left, by what they are of.
    """
    epochs = _epochs_table(run.epochs)
    places = columns_of(epochs, {metrics.epoch: row for row, metrics in enumerate(run.epochs)}, "epoch")
    drawn = "Loss terms" if run.last_accuracy is None else "Loss terms, and top-1 on the test images,"
    curves = Figure(
        f"{drawn} against epochs. Point at an epoch, or tap it, to see its numbers.",
        draw_pictures(partial(curves_figure, run), places, style),
    )
    return Page(
        title=_title(run, settings),
        lede=f"{run.folder.resolve().name}: {run.label}, {len(run.epochs)} epochs on {settings.data.name}",
        counts={},
        sections=(
            Section("What came of it", (run_table(run),), (curves,)),
            Section("What was done", facts=_facts(run, settings, about)),
            Section("Which layer learns from which", _pairs(settings, about), text=_pairs_in_words(settings)),
            *(_classes(evaluations, evaluate, style) if evaluations or not features else ()),
            *(section for name, found in features.items() for section in _features(name, found)),
            Section("How to load it", code=snippet),
            Section("Every epoch", (epochs,), folded=True),
        ),
        provenance=_provenance(run, about),
        mark=mark,
    )


def _title(run: Run, settings: TrainSettings | DistillSettings) -> str:
    if run.last_accuracy is None:
        return f"{_what(settings)}: a student without a classifier"
    return f"{_what(settings)}: right on {run.last_accuracy:.2f} % of the test images"


def _what(settings: TrainSettings | DistillSettings) -> str:
    if isinstance(settings, DistillSettings) and settings.chosen_method.needs_teacher:
        return f"{settings.student.name}, taught by {settings.teacher.name}"
    return settings.network.name


def _teacher(run: Run, settings: TrainSettings | DistillSettings) -> str:
    if not isinstance(settings, DistillSettings) or not settings.chosen_method.needs_teacher:
        return ""
    reaches = "" if run.teacher_accuracy is None else f"; top-1 {run.teacher_accuracy:.2f} % of the test images"
    return f"{_network(settings.teacher)}{reaches}"


def _facts(run: Run, settings: TrainSettings | DistillSettings, about: RunDescription) -> Mapping[str, str]:
    training = settings.training
    facts = {
        "Teacher": _teacher(run, settings),
        "Changed before the teacher's training": "; ".join(map(str, about.teacher_adapted)),
        "Network" if isinstance(settings, TrainSettings) else "Student": _network(settings.network),
        "Changed of its first weights": "; ".join(map(str, about.adapted)),
        **_method(run, settings),
        "Layers chosen by": about.layers_from,
        "Images": _images(settings, run.last_accuracy is not None),
        "Preprocessing": about.preprocessing.describe(),
        "Recipe": f"{training.epochs} epochs, batches of {training.batch_size}, {about.recipe}",
        "Augmentation": training.augment,
        "Seed": training.seed,
        "Batch normalization": about.batch_statistics,
    }
    return {name: str(fact) for name, fact in facts.items() if fact not in (None, "")}


def _network(model: ModelSettings) -> str:
    sha = f" (SHA-256 {model.weights_sha256[:12]}...)" if model.weights_sha256 else ""
    return f"{model.name}, weights: {model.weights or 'as they come'}{sha}"


def _method(run: Run, settings: TrainSettings | DistillSettings) -> Mapping[str, str]:
    if isinstance(settings, TrainSettings):
        return {"Method": "cross entropy"}
    method = settings.chosen_method
    reach = "have" if run.labels_reach_backbone else "have no"
    return {
        "Method": f"{run.label}: {method.objective_in_words.replace('**', '')}",
        "Source": method.source,
        "Labels": f"Labels {reach} influence on the student's backbone.",
    }


def _images(settings: TrainSettings | DistillSettings, tested: bool) -> str:
    training = settings.training
    parts = (
        settings.data.name,
        f"{training.train_samples:,} to train on" if training.train_samples else "all training images",
        "" if not tested else f"{training.test_samples:,} to test on" if training.test_samples else "all test images",
        f"{100 * training.holdout:g} % of the training images held out" if training.holdout else "",
    )
    return ", ".join(filter(None, parts))


def _mapping(settings: DistillSettings) -> str:
    method = settings.chosen_method
    return settings.alignment.mapping.mapping if method.takes_alignment else method.mapping


def _pairs(settings: TrainSettings | DistillSettings, about: RunDescription) -> tuple[Table, ...]:
    """The pairs of layers, as far as the run pairs some."""
    if isinstance(settings, TrainSettings) or not settings.layers:
        return ()
    teacher, student = settings.layers.names, settings.student_layers.names if settings.student_layers else ()
    if about.pairs:
        pairs = [(ours, theirs) for ours, _, theirs in (pair.partition("=") for pair in about.pairs)]
    elif _mapping(settings) == ONE_TO_ONE and len(teacher) == len(student):
        pairs = list(zip(student, teacher, strict=True))
    else:
        pairs = [(ours, ", ".join(teacher)) for ours in student]
    if not pairs:
        return ()
    columns = (Column("student", "layer of the student", "left"), Column("teacher", "learns from", "left"))
    rows = tuple({"student": ours, "teacher": theirs} for ours, theirs in pairs)
    return (Table("which layer learns from which", columns, rows),)


def _pairs_in_words(settings: TrainSettings | DistillSettings) -> str:
    if isinstance(settings, TrainSettings) or not settings.chosen_method.uses_features:
        return "This run pairs no layers."
    return "" if settings.layers else "The method finds by itself what it pairs, at the end of both networks."


def _classes(evaluations: Mapping[str, Evaluation], evaluate: str, style: Path | None) -> tuple[Section, ...]:
    """A section for every evaluation that was left in the folder."""
    if not evaluations:
        text = (
            "The folder holds no evaluation. This command leaves one, and the page shows it when it is written again:"
        )
        return (Section("Every class", text=text, code=evaluate),)
    sections = []
    for name, found in evaluations.items():
        drawn = draw_pictures(partial(confusion_figure, found), sheet=style, widths=(COLUMN_WIDTH,))
        caption = "Share of a class's images (row) that are taken for a class (column), in percent."
        table = replace(evaluation_table(found), title=f"every class, {name}")
        sections.append(Section(f"Every class, {name}", (table,), (Figure(caption, drawn),)))
    return tuple(sections)


def _features(name: str, found: FeatureEvaluation) -> Iterator[Section]:
    """Sections for an evaluation of features that was left in the folder."""
    if found.scores:
        yield Section(f"What the features are worth, {name}", (score_table(found, found.scores),))
        yield Section(f"What the features are worth, {name}: every class", (class_table(found, found.scores),))
    if found.agreement:
        yield Section(f"Agreement with the teacher, {name}", (agreement_table(found),))


def _epochs_table(epochs: Sequence[EpochMetrics]) -> Table:
    terms = dict.fromkeys(name for metrics in epochs for name in metrics.losses)
    tested, held_out = (
        any(getattr(metrics, name) is not None for metrics in epochs) for name in ("test_accuracy", "holdout_accuracy")
    )
    of_holdout = dict.fromkeys(name for metrics in epochs for name in metrics.holdout_losses)
    columns = (
        Column("epoch", "epoch"),
        *((Column("test_accuracy", "top-1, test (%)", digits=2, best="max"),) if tested else ()),
        *((Column("holdout_accuracy", "top-1, held out (%)", digits=2, best="max"),) if held_out else ()),
        *(Column(f"loss_{name}", name.replace("_", " "), digits=4) for name in terms),
        *(Column(f"holdout_loss_{name}", f"{name.replace('_', ' ')}, held out", digits=4) for name in of_holdout),
        Column("learning_rate", "learning rate"),
        Column("seconds", "seconds", digits=1),
    )
    rows = tuple(
        {
            "epoch": metrics.epoch,
            "test_accuracy": metrics.test_accuracy,
            "holdout_accuracy": metrics.holdout_accuracy,
            **{f"loss_{name}": value for name, value in metrics.losses.items()},
            **{f"holdout_loss_{name}": value for name, value in metrics.holdout_losses.items()},
            "learning_rate": float(f"{metrics.learning_rate:.4g}"),
            "seconds": metrics.seconds,
        }
        for metrics in epochs
    )
    return Table("every epoch", columns, rows)


def _provenance(run: Run, about: RunDescription) -> Mapping[str, Any]:
    memory = f"{run.peak_memory / 2**20:,.0f} MiB" if run.peak_memory else None
    facts = {
        "folder": run.folder.resolve().name,
        "seconds": round(run.total_seconds, 1),
        "largest memory": memory,
        "processes": about.processes,
        "resumed after epochs": list(run.resumed_after),
        **run.environment,
        "versions": ", ".join(f"{name} {version}" for name, version in run.environment.get("versions", {}).items()),
        "constants of the method": dict(about.constants) if about.constants else None,
        "plug-ins": dict(about.plugins),
    }
    return {name: fact for name, fact in facts.items() if fact not in (None, "", [], {})}
