"""Rankings of a grid's teachers: each is made once, by whichever worker needs it first."""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

from layerprobe.experiments.grid.grid_file import Grid, PlannedCell
from layerprobe.experiments.grid.results import claim_name, claims, ranking_file
from layerprobe.experiments.grid.study import kept_ranking
from layerprobe.experiments.resolve_rules import scored_rule, teacher_sample
from layerprobe.files import sha256
from layerprobe.geometry.catalogue import ALWAYS, SCORES, UNMEASURED, needs_classes
from layerprobe.plugins import file_sha256, split_file_name
from layerprobe.ranking.file import load_ranking, save_ranking
from layerprobe.ranking.rank import rank_model
from layerprobe.records import Progress, Ranking, silent
from layerprobe.settings.run import DistillSettings


def ranking_of(
    planned: PlannedCell,
    plan: DistillSettings,
    grid: Grid,
    folder: Path,
    progress: Progress = silent,
    poll: float = 2.0,
) -> Ranking | None:
    """The ranking that a cell's rule needs; None where it needs none.

    It is the cell's own file where the grid names one, else it lies in the grid's folder, where the first worker that
    needs it writes it while others wait.

    Args:
        planned: the cell.
        plan: its run.
        grid: whose rules say which statistics to measure.
        folder: of the grid.
        progress: told while images pass through, and before every layer.
        poll: seconds between looks at a ranking that another worker makes.

    Raises:
        LayerprobeError: if the grid names a file that is no ranking, or the teacher can't be ranked.
    """
    if not scored_rule(plan):
        return None
    if planned.ranking:
        return load_ranking(find_ranking(planned.ranking, folder))
    families = _families(grid)
    file = ranking_file(folder, _name(plan, families))
    while not file.is_file():
        claim = claims(folder).take(claim_name(f"ranking/{file.stem}"))
        if claim is None:
            time.sleep(poll)
            continue
        with claim.kept():
            if not file.is_file():
                ranking = rank_model(
                    teacher_sample(plan), by=_score(grid, plan), statistics=families, resamples=0, progress=progress
                )
                file.parent.mkdir(parents=True, exist_ok=True)
                save_ranking(ranking, file)
    return load_ranking(file)


def find_ranking(file: Path, folder: Path) -> Path:
    """The ranking file that a grid names, as it is kept in the grid's folder where that is a study."""
    kept = kept_ranking(file, folder)
    return kept if kept.is_file() else file


def _score(grid: Grid, plan: DistillSettings) -> str:
    """What the ranking's own choice is by: the default, unless no rule of the grid needs classes."""
    scores = [SCORES.find(score) for planned in grid.cells if (score := scored_rule(planned.settings))]
    return "quality" if any(map(needs_classes, scores)) else scored_rule(plan)


def _families(grid: Grid) -> tuple[str, ...]:
    """The statistics, beside those always there, that the rules of a grid look at."""
    scores = {score for planned in grid.cells if (score := scored_rule(planned.settings))}
    return tuple(sorted({SCORES.find(score).family for score in scores} - {ALWAYS, UNMEASURED}))


def _name(plan: DistillSettings, families: tuple[str, ...]) -> str:
    """Of a teacher, its images and what is measured: the same name is the same ranking.

    Weights in a file count by their content: a teacher that was trained anew is ranked anew.
    """
    teacher, data = plan.teacher.plain(), plan.data.identity()
    weights = Path(plan.teacher.weights or "")
    if weights.is_file():
        teacher["weights"] = sha256(weights)
    if teacher["weights_key"] is None:  # rankings keep the names that they had before there was a key
        del teacher["weights_key"]
    # Version 0.1.0 called it "root": its rankings keep their names.
    data["root"] = data.pop("data_root")
    measured = [f"{family} {file_sha256(family)}" if split_file_name(family) else family for family in families]
    # Rankings of one sample keep the names that they had before there was another.
    second = [plan.spectrum_samples] if plan.spectrum_samples else []
    told = json.dumps([teacher, data, measured, *second], sort_keys=True)
    return f"{plan.teacher.name}-{hashlib.sha256(told.encode()).hexdigest()[:8]}"
