"""The whole main job on scikit-learn's handwritten digits, offline, with the functions that the commands call."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import mean

from layerprobe.distill.run import distill_student, train_model
from layerprobe.errors import LayerprobeError
from layerprobe.experiments.resolve_rules import resolve_rules
from layerprobe.features.extraction.extract import extract
from layerprobe.ranking.catalogue import RECOMMENDED_RULE
from layerprobe.ranking.file import check_replaceable_ranking, ranking_path, save_ranking
from layerprobe.ranking.rank import rank
from layerprobe.records import Cell, CellResult, GridResults, Progress, Ranking, Run, silent
from layerprobe.report.figures.learning_curves import learning_curves_figure
from layerprobe.report.figures.quality import quality_figure
from layerprobe.report.figures.style import save_figure
from layerprobe.report.pages.demo import demo_page
from layerprobe.report.pages.writing import write_page
from layerprobe.runtime.devices import resolve_device
from layerprobe.settings.data import DataSettings
from layerprobe.settings.demo import DemoSettings
from layerprobe.settings.extract import ExtractSettings
from layerprobe.settings.flags import command_line
from layerprobe.settings.layer_choice import LayerChoice, RuleChoice
from layerprobe.settings.model import ModelSettings
from layerprobe.settings.rank import RankSettings
from layerprobe.settings.recipe import TrainingSettings
from layerprobe.settings.run import DistillSettings, TrainSettings

TEACHER = STUDENT = "cifar:resnet20"
DIGITS = DataSettings(name="digits", image_size=16)
SAMPLES = 600
"""Images whose features are ranked."""
RULE = RuleChoice(RECOMMENDED_RULE, 4)
"""How feature-only chooses its layers."""
METHODS = ("feature-only", "scratch", "kd")
TEACHER_TRAINING = TrainingSettings(epochs=8)
STUDENT_TRAINING = TrainingSettings(epochs=20, batch_size=10, train_samples=100, test_samples=300, cache_teacher=True)
"""Students see ten images of every digit: few enough that it matters what they learn from."""


@dataclass(frozen=True)
class Demo:
    """What the demo saw.

    Attributes:
        ranking: the teacher's layers.
        runs: every student's run.
        page: that shows them.
        files: everything that was written, the runs' checkpoints aside.
    """

    ranking: Ranking
    runs: tuple[Run, ...]
    page: Path
    files: tuple[Path, ...]


def run_demo(
    config: DemoSettings, say: Callable[[str], None] = lambda message: None, progress: Progress = silent
) -> Demo:
    """Train a teacher, extract, rank, draw, and distil students with three methods.

    Args:
        config: where to write.
        say: told the command line that each step stands for, and what it gave.
        progress: told of every step's progress.

    Raises:
        LayerprobeError: if the folder exists and may not be overwritten.
    """
    out = config.output
    if out.exists() and not config.overwrite and (not out.is_dir() or any(out.iterdir())):
        raise LayerprobeError(f"{out} exists and is not empty; --overwrite replaces it, --output DIR writes elsewhere")
    teacher = _teach(config, say, progress)
    ranking = _rank(config, teacher, say, progress)
    runs = _distil(config, teacher, ranking, say, progress)
    figures, students, page = out / "figures", _as_grid(runs, out), out / "demo.html"
    drawn = [
        *save_figure(partial(quality_figure, ranking), figures, "teacher.quality", overwrite=True),
        *save_figure(partial(learning_curves_figure, students), figures, "learning-curves", overwrite=True),
    ]
    features = _features(config)
    more = RankSettings(features=(features,), statistics=("all",), figures=("all",), output=figures)
    write_page(demo_page(ranking, students, verdict(runs), command_line("rank", more)), page)
    written = [path for run in (teacher, *runs) for path in run.files]
    return Demo(ranking, tuple(runs), page, (features, ranking_path(features), *sorted([*drawn, *written, page])))


def _as_grid(runs: Sequence[Run], folder: Path) -> GridResults:
    """The students' runs as the finished cells of a grid."""
    pair = f"{TEACHER} to {STUDENT}"
    cells = (
        Cell(
            pair,
            "",
            run.method,
            "",
            run.config["training"]["seed"],
            run.folder.relative_to(folder).as_posix(),
            setting=run.setting,
        )
        for run in runs
    )
    results = tuple(CellResult(cell, "done", run) for cell, run in zip(cells, runs, strict=True))
    return GridResults("the demo", "", results)


def _features(config: DemoSettings) -> Path:
    return config.output / "teacher.h5"


def _teach(config: DemoSettings, say: Callable[[str], None], progress: Progress) -> Run:
    training = TrainSettings(
        model=ModelSettings(name=TEACHER),
        data=DIGITS,
        output=config.output / "teacher",
        training=TEACHER_TRAINING.replaced(device=config.device),
        overwrite=config.overwrite,
    )
    say(f"$ {command_line('train', training)}")
    teacher = train_model(training, progress=progress)
    say(f"  teacher: top-1 {teacher.last_accuracy:.2f} %")
    return teacher


def _rank(config: DemoSettings, teacher: Run, say: Callable[[str], None], progress: Progress) -> Ranking:
    features = _features(config)
    spec = ModelSettings(name=TEACHER, weights=str(teacher.weights))
    extraction = ExtractSettings(
        model=spec,
        data=DIGITS,
        output=features,
        samples=SAMPLES,
        device=config.device,
        spectrum_samples=config.spectrum_samples,
        overwrite=config.overwrite,
    )
    say(f"$ {command_line('extract', extraction)}")
    with extract(extraction, progress) as file:
        choice = RankSettings(features=(features,), output=config.output / "figures", device=config.device)
        say(f"$ {command_line('rank', choice)}")
        ranking = rank(file, top=choice.top, device=resolve_device(config.device), progress=progress)
    check_replaceable_ranking(ranking_path(features))
    save_ranking(ranking, ranking_path(features))
    say(f"  highest quality: {', '.join(ranking.selected)}")
    return ranking


def _distil(
    config: DemoSettings, teacher: Run, ranking: Ranking, say: Callable[[str], None], progress: Progress
) -> list[Run]:
    runs = []
    network = ModelSettings(name=TEACHER, weights=str(teacher.weights))
    for method in METHODS:
        for seed in range(config.seeds):
            distillation = resolve_rules(_distillation(config, method, seed, network), ranking)
            if seed == 0:
                if distillation.layers:
                    say(f"  layers by {RULE}: {', '.join(distillation.layers.names)}")
                say(f"$ {command_line('distill', distillation)}")
            runs.append(distill_student(distillation, progress=progress))
            say(f"  {method}, seed {seed}: top-1 {runs[-1].last_accuracy:.2f} %")
    return runs


def _distillation(config: DemoSettings, method: str, seed: int, teacher: ModelSettings) -> DistillSettings:
    return DistillSettings(
        method=method,
        teacher=teacher,
        student=ModelSettings(name=STUDENT),
        data=DIGITS,
        output=config.output / "runs" / f"{method}-{seed}",
        layers=LayerChoice(rule=RULE) if method == "feature-only" else None,
        training=STUDENT_TRAINING.replaced(seed=seed, device=config.device),
        overwrite=config.overwrite,
    )


def verdict(runs: Sequence[Run]) -> str:
    """One sentence on which method was ahead, by mean top-1 of the last epoch, whoever it was."""
    methods = list(dict.fromkeys(run.method for run in runs))
    means = {method: mean(run.last_accuracy or 0.0 for run in runs if run.method == method) for method in methods}
    order = sorted(methods, key=means.__getitem__, reverse=True)
    first, second = order[0], order[1]
    seeds = len(runs) // len(methods)
    return (
        f"of students that learn from {STUDENT_TRAINING.train_samples} images, {first} came out ahead of {second} "
        f"by {means[first] - means[second]:.2f} points "
        f"({', '.join(f'{method} {means[method]:.2f} %' for method in order)}; {seeds} seeds each, last epoch)"
    )
