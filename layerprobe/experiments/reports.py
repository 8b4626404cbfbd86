"""Reports: what lies at the paths that are named, read and shown as tables, figures and a page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from layerprobe.distill.folder import CONFIG, PAGE, read_run
from layerprobe.distill.students import evaluation_data, read_description, runs_code, snippet
from layerprobe.errors import LayerprobeError
from layerprobe.evaluation.kept import read_evaluations, read_feature_evaluations
from layerprobe.experiments.grid.results import GRID_FILE, read_grid
from layerprobe.experiments.publish import check_study, publish_study
from layerprobe.experiments.validation.results import read_validation
from layerprobe.files import sha256, short_name
from layerprobe.geometry.catalogue import SCORES
from layerprobe.ranking.file import load_ranking
from layerprobe.ranking.grams import described_source
from layerprobe.ranking.kept import read_ranked
from layerprobe.records import Progress, Ranking, silent
from layerprobe.records.cautions import smallest_class
from layerprobe.report.figures.catalogue import FIGURES
from layerprobe.report.figures.style import WIDTHS, paper_style
from layerprobe.report.grid.report import check_report, write_report
from layerprobe.report.grid.tables import grid_table
from layerprobe.report.pages.networks import glance_table, networks_page
from layerprobe.report.pages.run import run_page
from layerprobe.report.pages.teacher import teacher_page
from layerprobe.report.pages.writing import check_page, mark_of, write_page
from layerprobe.report.tables.ranking import ranking_table
from layerprobe.report.tables.runs import run_table
from layerprobe.report.tables.table import Table
from layerprobe.runtime.devices import resolve_device
from layerprobe.settings.evaluate import EvaluateSettings
from layerprobe.settings.flags import command_line
from layerprobe.settings.rank import RankSettings
from layerprobe.settings.report import ReportSettings

ENDING = ".report.html"
"""How the name of a page ends that lies beside other files."""


@dataclass(frozen=True)
class Report:
    """What was written.

    Attributes:
        tables: that say it in short.
        files: all of them, the page last unless a study follows it.
    """

    tables: tuple[Table, ...]
    files: tuple[Path, ...]


Check: TypeAlias = Callable[[Table], object]
"""Takes the table that says a report in short, and raises an error if it does not serve."""


def report_on(settings: ReportSettings, progress: Progress = silent, check: Check = lambda table: None) -> Report:
    """Write the report of what the settings name: a ranked network, several of them, a run or a grid.

    Args:
        settings: what, and where the report goes.
        progress: told before every layer that must be measured.
        check: called with the report's table before anything is drawn or written.

    Raises:
        LayerprobeError: if there is nothing to report on, or something else lies where the report is to be written.
    """
    first, *others = settings.sources
    with paper_style(settings.style):
        pass  # a style sheet that is none is refused before any work is done
    kinds = [_kind_of(path) for path in settings.sources]
    if settings.study and kinds[0] is not _GRID:
        raise LayerprobeError(f"--study packs a grid, and {first} is none: it has no {GRID_FILE}; leave --study out")
    if not others:
        return kinds[0].write(settings, progress, check)
    if folder := next((path for path, kind in zip(settings.sources, kinds, strict=True) if kind is not _NETWORK), None):
        raise LayerprobeError(
            f"{folder} is a folder, and several sources are files, one per network; report on a folder alone"
        )
    return _report_networks(settings, progress, check)


def _kind_of(path: Path) -> _Kind:
    kind = next((kind for kind in (_GRID, _RUN, _NETWORK) if kind.fits(path)), None)
    if kind is None and not path.exists():
        raise LayerprobeError(f"there is no file or folder {path}; name a feature file, a ranking, a run or a grid")
    if kind is None:
        raise LayerprobeError(
            f"{path} holds no grid: it has no {GRID_FILE}; and no run: it has no {CONFIG}; `layerprobe report` takes "
            "the folder of one of them, a feature file or a ranking"
        )
    return kind


def _report_grid(settings: ReportSettings, progress: Progress, check: Check) -> Report:
    grid, study = settings.sources[0], settings.study
    folder = settings.output or grid / "report"
    if settings.output is None and folder.is_symlink():
        raise LayerprobeError(f"{folder} is a link, which may lead anywhere; name a folder with --output")
    check_report(folder)
    if study:
        check_study(grid, study)
    results = read_grid(grid)
    table = grid_table(results)
    check(table)
    validation = read_validation(grid, settings.allow_code)
    files = write_report(results, folder, validation, WIDTHS[settings.width], settings.style, caption=settings.caption)
    return Report((table,), (*files, *(publish_study(grid, study) if study else ())))


def _report_run(settings: ReportSettings, progress: Progress, check: Check) -> Report:
    folder = settings.sources[0]
    name = folder.resolve().name
    path = settings.output / f"{name}{ENDING}" if settings.output else folder / PAGE
    run = read_run(folder)
    table = run_table(run)
    check(table)
    told, about = read_description(folder)
    mark = mark_of(sha256(folder / CONFIG))
    check_page(path, mark, settings.overwrite)
    following = EvaluateSettings(run=folder, data=evaluation_data(run, told.data), allow_code=runs_code(folder))
    page = run_page(
        run, told, about, snippet(run), command_line("evaluate", following), read_evaluations(folder), mark,
        settings.style, read_feature_evaluations(folder),
    )  # fmt: skip
    write_page(page, path)
    return Report((table,), (path,))


def _report_network(settings: ReportSettings, progress: Progress, check: Check) -> Report:
    source = settings.sources[0]
    path = (settings.output or source.parent) / f"{_stem(source)}{ENDING}"
    mark = mark_of(_described(source))
    check_page(path, mark, settings.overwrite)
    ranking = _read_ranking(source, progress)
    table = ranking_table(ranking)
    check(table)
    write_page(teacher_page(ranking, *_remedy(source, ranking), mark, settings.style), path)
    return Report((table,), (path,))


def _report_networks(settings: ReportSettings, progress: Progress, check: Check) -> Report:
    sources = settings.sources
    name = short_name(f"{'.'.join(map(_stem, sources))}{ENDING}", 250)
    path = (settings.output or sources[0].parent) / name
    mark = mark_of("\n".join(map(_described, sources)))
    check_page(path, mark, settings.overwrite)
    rankings = _named([(_stem(source), _read_ranking(source, progress)) for source in sources])
    table = glance_table(rankings)
    check(table)
    write_page(networks_page(rankings, mark, settings.style), path)
    return Report((table,), (path,))


def _named(rankings: Sequence[tuple[str, Ranking]]) -> Mapping[str, Ranking]:
    """Rankings by the names of their networks, with that of the file where two networks have one name.

    Raises:
        LayerprobeError: if two files of one name are of networks of one name, or one file is named twice.
    """
    models = [str(ranking.provenance.get("model", "?")) for _, ranking in rankings]
    names = [
        model if models.count(model) == 1 else f"{model} ({stem})"
        for model, (stem, _) in zip(models, rankings, strict=True)
    ]
    if twice := [name for name in names if names.count(name) > 1]:
        raise LayerprobeError(f"two of the files are of {twice[0]}; name each network once, or rename one")
    return {name: ranking for name, (_, ranking) in zip(names, rankings, strict=True)}


def _is_ranking(path: Path) -> bool:
    return path.suffix == ".json"


def _stem(path: Path) -> str:
    """Name of a feature file, or of the one that a ranking lies beside."""
    return path.stem.removesuffix(".ranking") if _is_ranking(path) else path.stem


def _described(path: Path) -> str:
    """What tells the features that a feature file or a ranking is of from others."""
    if not _is_ranking(path):
        return described_source(path)
    source = load_ranking(path).provenance
    return json.dumps([source.get(key) for key in ("model", "weights_sha256", "created")])


def _read_ranking(path: Path, progress: Progress) -> Ranking:
    return load_ranking(path) if _is_ranking(path) else read_ranked(path, resolve_device("auto"), progress)


def _remedy(source: Path, ranking: Ranking) -> tuple[str, str]:
    """How the figures are shown that lack their results, in words, and the command for it; it may be empty."""
    if _is_ranking(source):
        return "A ranking holds numbers alone: `layerprobe report` of its feature file shows them.", ""
    lacking = [figure for figure in FIGURES.values() if not figure.can_show(ranking)]
    names = [figure.name for figure in lacking if not figure.sizes]
    images = smallest_class(ranking)
    made = ranking.provenance
    command = RankSettings(
        features=(source,),
        top=len(ranking.selected),
        by=ranking.score if ranking.score in SCORES else "quality",  # a file that a ranking names is not run
        resamples=made.get("resamples", 0),
        level=made.get("level", 0.9),
        seed=made.get("seed", 0),
        figures=tuple(names) or None,
        sizes=tuple(sorted({max(2, images // part) for part in (4, 2, 1)})) if len(names) < len(lacking) else (),
        output=Path("figures"),
    )
    words = "This command measures and draws them, and the page shows them when it is written again:"
    return words, command_line("rank", command)


@dataclass(frozen=True)
class _Kind:
    """Something that can be reported on.

    Attributes:
        fits: whether it lies at a path.
        write: its report.
    """

    fits: Callable[[Path], bool]
    write: Callable[[ReportSettings, Progress, Check], Report]


_GRID = _Kind(lambda path: (path / GRID_FILE).exists(), _report_grid)
_RUN = _Kind(lambda path: (path / CONFIG).exists(), _report_run)
_NETWORK = _Kind(lambda path: path.is_file() or (bool(path.suffix) and not path.is_dir()), _report_network)
