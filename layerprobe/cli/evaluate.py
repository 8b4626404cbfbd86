"""``layerprobe evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from layerprobe.cli.options import Command
from layerprobe.cli.reporter import Reporter
from layerprobe.settings.display import ColumnSettings
from layerprobe.settings.evaluate import EvaluateSettings

if TYPE_CHECKING:
    from layerprobe.records import Evaluation

EXAMPLES = """
layerprobe evaluate run/
layerprobe evaluate run/ --data photos/ --which best --output figures/
layerprobe evaluate run/ --by knn,probe,retrieval,agreement
layerprobe evaluate --model timm:vit_small_patch16_224 --data photos/ \\
    --by probe --layers every:2
layerprobe evaluate run/ --data photos/ --by probe --save-head
layerprobe evaluate run/ --data photos/ --head run/head.safetensors
"""
FIRST = (
    "--by", "--data", "--layers", "--model", "--weights", "--output", "--format", "--device", "--save-head",
    "--overwrite",
)  # fmt: skip


def evaluate(settings: EvaluateSettings, display: ColumnSettings) -> None:
    """Evaluate a trained network and its features.

    With a classifier this prints top-1 and top-5 accuracy and the accuracy of every class, and draws the confusion
    matrix. Without one, --by knn,probe,retrieval,agreement says how well the features of a layer tell classes apart,
    and how alike student and teacher see the images.
    """
    from layerprobe.distill.folder import HEAD
    from layerprobe.evaluation.catalogue import CLASSIFIER
    from layerprobe.evaluation.evaluate import chosen_ways, classifier_score
    from layerprobe.evaluation.evaluate import evaluate as run
    from layerprobe.evaluation.evaluate_features import check_head, evaluate_features
    from layerprobe.evaluation.kept import check_kept, keep_evaluation
    from layerprobe.evaluation.subject import load_subject
    from layerprobe.report.tables.evaluations import evaluation_table, feature_tables, interval_note

    with Reporter(display) as reporter:
        ways = chosen_ways(settings)
        classify = any(way.name == CLASSIFIER for way in ways)
        features = any(way.name != CLASSIFIER for way in ways)
        _check_columns(features, display)
        check_head(settings, ways)
        if features:
            check_kept(settings)
        if classify:
            _check_figure(settings)
        subject = load_subject(settings)
        evaluation = run(settings, reporter.progress, subject) if classify else None
        score = classifier_score(evaluation, settings) if evaluation else None
        files = _draw(settings, evaluation) if evaluation else []
        if features:
            found = evaluate_features(settings, ways, subject, reporter.progress)
            files = [*files, *keep_evaluation(settings, found)]
            reporter.show(feature_tables(found, score))
        elif evaluation:
            reporter.show(evaluation_table(evaluation, score, interval_note(settings.level, settings.resamples)))
        if settings.save_head and settings.folder:
            files = [*files, settings.folder / HEAD]
        reporter.wrote(files)


def _check_columns(features: bool, display: ColumnSettings) -> None:
    from layerprobe.evaluation.catalogue import EVALUATORS
    from layerprobe.report.tables.choice import check_columns
    from layerprobe.report.tables.evaluations import AGREEMENT_COLUMNS, EVALUATION_COLUMNS, SCORE_COLUMNS

    if not features:
        check_columns(EVALUATION_COLUMNS, display.columns)
        return
    # Columns of every class are called by the ways and layers.
    fixed = [name for name in display.columns if name.split()[0] not in EVALUATORS]
    check_columns((*SCORE_COLUMNS, *AGREEMENT_COLUMNS, *EVALUATION_COLUMNS), fixed)


def _check_figure(settings: EvaluateSettings) -> None:
    from layerprobe.distill.folder import CONFUSION
    from layerprobe.evaluation.evaluate import evaluated
    from layerprobe.evaluation.kept import kept_name
    from layerprobe.report.figures.style import check_figure

    if settings.folder:
        check_figure(settings.folder, kept_name(CONFUSION, settings), settings.overwrite, evaluated(settings))


def _draw(settings: EvaluateSettings, evaluation: Evaluation) -> Sequence[Path]:
    """The files of the confusion matrix; none where there is no folder for it."""
    from layerprobe.distill.folder import CONFUSION
    from layerprobe.evaluation.evaluate import evaluated
    from layerprobe.evaluation.kept import kept_name
    from layerprobe.report.figures.confusion import confusion_figure
    from layerprobe.report.figures.style import WIDTHS, save_figure

    if not settings.folder:
        return []
    draw = partial(confusion_figure, evaluation, WIDTHS[settings.width])
    return save_figure(
        draw,
        settings.folder,
        kept_name(CONFUSION, settings),
        settings.overwrite,
        settings.style,
        evaluated(settings),
        settings.caption,
    )


COMMAND = Command("evaluate", evaluate, EXAMPLES, FIRST)
