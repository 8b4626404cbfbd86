"""Students distilled from every candidate, and scores that may predict them: ``layerprobe validate``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from layerprobe.data.datasets import open_split
from layerprobe.distill.layer_pairs import choose_student_layers
from layerprobe.errors import LayerprobeError
from layerprobe.experiments.grid.compare import Compared, check_kept, compare, open_grid, write_grid
from layerprobe.experiments.grid.grid_file import Grid
from layerprobe.experiments.grid.results import GRID_FILE
from layerprobe.experiments.grid.work import OnEpoch
from layerprobe.experiments.resolve_rules import untrained_student
from layerprobe.experiments.validation.candidates import layers_of, spread_out
from layerprobe.experiments.validation.scores import (
    LayerScore,
    LearningStudent,
    Subject,
    measure_scores,
    read_scores,
    save_scores,
)
from layerprobe.networks import load_network
from layerprobe.records import GridResults, Progress, silent
from layerprobe.settings.compare import CompareSettings
from layerprobe.settings.run import DistillSettings


def prepare_validation(
    config: CompareSettings, scores: Mapping[str, LayerScore] | None = None, progress: Progress = silent
) -> Grid:
    """Write the grid of a validation into its folder, and measure the scores, where they are not there yet.

    Scores that were measured of something else, like other weights or fewer pairs, are measured again.

    Args:
        config: what to run; its grid file has a key ``validate``.
        scores: further ones, by name.
        progress: told while images pass through, and before every layer.

    Raises:
        LayerprobeError: if the grid file says what can't be, something else lies in the folder, or a score fails.
    """
    grid = plan_validation(config)
    folder, known = config.output, read_scores(config.output)
    subject = _subject(grid, config, scores or {})
    if known is not None and subject.is_that_of(known):
        write_grid(grid, folder)
        return grid
    found = measure_scores(subject, progress)
    write_grid(grid, folder)
    save_scores(found, folder)
    return grid


def plan_validation(config: CompareSettings) -> Grid:
    """The grid of a validation, with a choice of layers for every candidate.

    Raises:
        LayerprobeError: if the grid file says what can't be, something else lies in the folder, or runs of another grid
            in it would vanish.
    """
    given = open_grid(config)
    if not given.validate:
        raise LayerprobeError(
            f"{config.grid} asks for no validation: it has no key 'validate', "
            "e.g. validate: {layers: all}; `layerprobe compare` runs it"
        )
    grid = spread_out(given, str(config.grid))
    check_kept(grid, config.output)
    return grid


def validate(
    config: CompareSettings,
    on_epoch: OnEpoch,
    scores: Mapping[str, LayerScore] | None = None,
    progress: Progress = silent,
    watch: Callable[[GridResults], None] = lambda results: None,
) -> Compared:
    """Distil from every candidate of a grid file's ``validate``; ``read_validation`` then says which score
    predicted the students.

    Args:
        config: what to run.
        on_epoch: of one local worker: told every epoch.
        scores: further ones, by name: functions of a layer's ``Gram``.
        progress: told while images pass through, and after every step of one local worker.
        watch: of several workers: told the state of the grid while they work.

    Raises:
        LayerprobeError: as ``prepare_validation`` and ``compare``.
    """
    prepare_validation(config, scores, progress)
    return compare(config.replaced(grid=config.output / GRID_FILE), on_epoch, progress, watch)


def _subject(grid: Grid, config: CompareSettings, own: Mapping[str, LayerScore]) -> Subject:
    first = grid.cells[0].config(config.output)
    images = open_split(first.data, "train")
    if images.labels is None:
        raise LayerprobeError(
            f"validation compares scores with the accuracy of students, and the images of {images.name} have no "
            "labels; name labelled images"
        )
    teacher = load_network(first.teacher, first.data, images)
    return Subject(
        plan=first,
        layers=list(dict.fromkeys(name for planned in grid.cells for name in layers_of(planned))),
        students=_students(grid, config.output),
        samples=grid.validate.samples if grid.validate else None,
        weights_sha256=teacher.weights_sha256,
        own=own,
    )


def _students(grid: Grid, folder: Path) -> dict[str, LearningStudent]:
    """The student of every pair, with the layers that learn from as many teacher layers as some candidate has."""
    students: dict[str, LearningStudent] = {}
    for planned in grid.cells:
        count = len(layers_of(planned))
        known = students.get(planned.cell.pair)
        if known is None or count not in known.layers_by_count:
            plan = planned.config(folder)
            by_count = {**(known.layers_by_count if known else {}), count: _student_layers(plan, count)}
            students[planned.cell.pair] = LearningStudent(plan.student, by_count)
    return students


def _student_layers(plan: DistillSettings, count: int) -> list[str]:
    return [layer.name for layer in choose_student_layers(untrained_student(plan), plan.student_layers, count)]
