"""The features of a cell's finished student, evaluated as the grid file says, and what is kept of that."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from layerprobe.data.datasets import open_split
from layerprobe.errors import LayerprobeError
from layerprobe.evaluation.catalogue import EVALUATORS
from layerprobe.evaluation.evaluate_features import evaluate_features
from layerprobe.evaluation.kept import check_kept, evaluation_path, keep_evaluation, read_evaluation
from layerprobe.evaluation.subject import load_subject
from layerprobe.experiments.grid.grid_file import Grid, PlannedCell
from layerprobe.records import FeatureEvaluation, Progress
from layerprobe.settings.base import SettingsError, errors_of_part
from layerprobe.settings.evaluate import EvaluateSettings


def evaluate_cell(planned: PlannedCell, folder: Path, progress: Progress) -> None:
    """Evaluate the features of a finished run, and keep the scores in its folder.

    Raises:
        LayerprobeError: if the images are not there or have no labels, or other scores lie there.
    """
    config = _evaluation_of(planned, folder)
    if config is None:
        return
    try:
        check_kept(config)
    except SettingsError:
        raise LayerprobeError(
            f"{evaluation_path(config)} is of other weights or images, or has other intervals, than the grid file asks "
            "for; remove it, or name another --output for the grid"
        ) from None
    with errors_of_part("evaluation"):
        ways = [EVALUATORS[name] for name in config.by or ()]
        keep_evaluation(config, evaluate_features(config, ways, load_subject(config), progress))


def is_evaluated(planned: PlannedCell, folder: Path) -> bool:
    """Whether nothing is left to evaluate in the folder of a finished run; what is malformed there is left as it is."""
    wanted = set(planned.evaluation.by or ()) if planned.evaluation else set()
    try:
        return not wanted or wanted <= {*scores_of(kept_evaluation(planned, folder))}
    except LayerprobeError:
        return True


def kept_evaluation(planned: PlannedCell, folder: Path) -> FeatureEvaluation | None:
    """What lies in the folder of a finished run; None: nothing.

    Raises:
        LayerprobeError: if it is malformed.
    """
    config = _evaluation_of(planned, folder)
    path = evaluation_path(config) if config else None
    return read_evaluation(path) if path and path.is_file() else None


def scores_of(evaluation: FeatureEvaluation | None) -> Mapping[str, float]:
    """The score of every way of evaluation over all images, in percent."""
    return {score.by: score.overall.value for score in evaluation.scores} if evaluation else {}


def check_evaluation(grid: Grid) -> None:
    """Make sure that there are labelled images to evaluate on, before any run begins.

    Raises:
        LayerprobeError: if there are none.
    """
    if grid.evaluation is None:
        return
    own = [planned.settings.data for planned in grid.cells]
    for data in dict.fromkeys([grid.evaluation.data] if grid.evaluation.data else own):
        if not open_split(data, grid.evaluation.split).classes:
            raise LayerprobeError(
                f"the evaluation of runs compares classes, and {data.name} has no labels; name images that have, "
                "`evaluation: {data: FOLDER}`"
            )


def _evaluation_of(planned: PlannedCell, folder: Path) -> EvaluateSettings | None:
    """The evaluation of a cell's run. Code that the grid file names was run for the run itself."""
    if planned.evaluation is None:
        return None
    return planned.evaluation.replaced(run=folder / planned.cell.path, allow_code=True)
