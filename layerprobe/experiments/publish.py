"""A grid's folder, finished or not, written as a study: one table in place of its run folders."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

from layerprobe.errors import LayerprobeError, first_of
from layerprobe.experiments.grid.grid_file import Grid, load_grid
from layerprobe.experiments.grid.rankings import find_ranking
from layerprobe.experiments.grid.results import DONE, FAILED, GRID_FILE, GridReader, finished_cell, read_grid
from layerprobe.experiments.grid.study import RANKINGS, TABLE, FinishedCell, format_study, kept_ranking
from layerprobe.experiments.validation.scores import read_scores
from layerprobe.files import is_temporary, write_bytes, write_text
from layerprobe.records import Cell

_log = logging.getLogger(__name__)


def publish_study(source: Path, folder: Path) -> list[Path]:
    """Write a grid's folder as a study, which can be reported and gone on with like the folder itself.

    Weights, checkpoints and logs are left behind. A study that lies there already is replaced; it may be the source
    itself, whose runs that are not in the table yet then get their rows.

    Args:
        source: the grid's folder, or a study.
        folder: where to; made if it is missing.

    Returns:
        The files of the study, the table last.

    Raises:
        LayerprobeError: if the source holds no grid or no finished run, or something else lies in the folder, or a
            study with runs that the source lacks.
    """
    results, scores = read_grid(source), read_scores(source)
    check_study(source, folder)
    grid = load_grid(source / GRID_FILE, recorded=True)
    finished: dict[Cell, FinishedCell] = {}
    for planned, result in zip(grid.cells, results.results, strict=True):
        if result.state == DONE and (kept := finished_cell(planned, source)):
            finished[result.cell] = kept
    failures = {result.cell: result.reason for result in results.results if result.state == FAILED}
    if not finished:
        raise LayerprobeError(
            f"no cell of {source} is done; `layerprobe compare` runs them, and a study holds their runs"
        )
    folder.mkdir(parents=True, exist_ok=True)
    written = list(_copy_rankings(grid, source, folder))
    write_text(folder / GRID_FILE, grid.text)
    write_text(folder / TABLE, format_study(finished, failures, scores))
    return [*written, folder / GRID_FILE, folder / TABLE]


def check_study(source: Path, folder: Path) -> None:
    """Make sure that a study may be written into a folder, before any work is done.

    Raises:
        LayerprobeError: if the folder is a file, or holds something else than a study, or runs that the source lacks.
    """
    if folder.exists() and not folder.is_dir():
        raise LayerprobeError(f"{folder} is a file; --study names a folder")
    if not folder.is_dir() or folder.resolve() == source.resolve() or _is_begun(folder, source):
        return
    if not (folder / TABLE).is_file():
        raise LayerprobeError(f"{folder} is not empty and holds no study: it has no {TABLE}; name another --study")
    ours = {result.cell.path for result in read_grid(source).results if result.state == DONE}
    there = GridReader(load_grid(folder / GRID_FILE, recorded=True), folder).read().results
    if lost := [one.cell.path for one in there if one.state == DONE and one.cell.path not in ours]:
        raise LayerprobeError(
            f"the study {folder} holds {first_of(lost)}, which {source} lacks; name another --study, or remove it"
        )


def _is_begun(folder: Path, source: Path) -> bool:
    """Whether a folder is empty, or holds only what is written of this study before its table."""

    def is_ours(path: Path) -> bool:
        same_grid = path.name == GRID_FILE and path.is_file() and path.read_bytes() == (source / GRID_FILE).read_bytes()
        return is_temporary(path) or path.name == RANKINGS or same_grid

    return all(map(is_ours, folder.iterdir()))


def _copy_rankings(grid: Grid, source: Path, folder: Path) -> Iterator[Path]:
    """The rankings that the grid file names, and those that workers made in the grid's folder."""
    named = {planned.ranking for planned in grid.cells if planned.ranking}
    files = {kept_ranking(file, folder): find_ranking(file, source) for file in sorted(named)}
    files |= {folder / RANKINGS / file.name: file for file in sorted((source / RANKINGS).glob("*.ranking.json"))}
    for target, file in files.items():
        if not file.is_file():
            _log.warning("the ranking %s is not there, and not in the study", file)
            continue
        if not (target.exists() and target.samefile(file)):
            target.parent.mkdir(parents=True, exist_ok=True)
            write_bytes(target, file.read_bytes())
        yield target
