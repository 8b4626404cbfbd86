"""Everything that a report of a grid consists of, written into one folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from layerprobe.errors import LayerprobeError
from layerprobe.files import is_temporary, write_text
from layerprobe.records import GridResults, Validation
from layerprobe.report.figures.cost import cost_figure
from layerprobe.report.figures.grid_bars import grid_bars_figure
from layerprobe.report.figures.learning_curves import learning_curves_figure
from layerprobe.report.figures.style import PAGE_WIDTH, Drawing, figure_paths, paper_style, save_figure
from layerprobe.report.figures.validation import validation_figure
from layerprobe.report.grid.groups import are_untested, have_accuracies, method_labels
from layerprobe.report.grid.notes import count_states
from layerprobe.report.grid.pairs import pairs_table
from layerprobe.report.grid.tables import details_table, grid_table, states_table
from layerprobe.report.html.page import GENERATOR, Figure, Page, Section, html_page
from layerprobe.report.html.pictures import SCREENS, Picture, draw_pictures
from layerprobe.report.tables.table import Table, render
from layerprobe.report.tables.validation import candidates_table, correlations_table

INDEX = "index.html"
MOST_CURVES = 14
"""Methods above which curves and points can't be told apart, and are not drawn."""
_TABLES = ("table", "pairs", "details", "states", "correlations", "candidates")
_FIGURES = ("grid-bars", "learning-curves", "cost", "validation", "validation-*")
_ENDINGS = {"md": "markdown", "tex": "latex", "csv": "csv", "json": "json"}


@dataclass(frozen=True)
class _FigureToDraw:
    """A figure to draw: its name, and how, of a width in inches."""

    name: str
    draw: Callable[[float], Drawing]


def write_report(
    results: GridResults,
    folder: Path,
    validation: Validation | None = None,
    width: float = PAGE_WIDTH,
    style: Path | None = None,
    overwrite: bool = True,
    caption: bool = False,
) -> list[Path]:
    """Write tables, figures and one HTML page that shows them all.

    Of a grid without a finished run there are tables and a page, and no figures.

    Args:
        results: the grid, finished or not.
        folder: where to; made if it is missing.
        validation: of the scores, where there is one.
        width: of the figures in inches.
        style: a matplotlib style sheet that is laid over the house style.
        overwrite: whether a report that lies there may be replaced.
        caption: whether the figures' captions stand in the figures, too; the page has them in any case.

    Returns:
        Every file, the page last.

    Raises:
        LayerprobeError: if something else than a report lies in the folder, or a report that may not be replaced.
    """
    check_report(folder, overwrite)
    with paper_style(style):
        folder.mkdir(parents=True, exist_ok=True)
    tables = {"table": grid_table(results), "details": details_table(results), "states": states_table(results)}
    if over_pairs := pairs_table(results):
        tables["pairs"] = over_pairs
    if validation is not None:
        tables |= {"correlations": correlations_table(validation), "candidates": candidates_table(validation)}
    page = folder / INDEX
    # The page comes first, without figures: a report that was interrupted is a report, and may be replaced.
    write_text(page, html_page(_page(results, validation, tables, {})))
    written = [path for name, table in tables.items() for path in _write_table(table, folder, name)]
    figures: dict[str, Figure] = {}
    for wanted in (*_grid_figures(results), *_validation_figures(validation)):
        with paper_style(style):
            drawing = wanted.draw(width)
        files = save_figure(lambda: drawing, folder, wanted.name, overwrite=True, sheet=style, caption=caption)  # noqa: B023
        figures[wanted.name] = _shown(wanted, drawing.caption, files, width, style)
        written += files
    write_text(page, html_page(_page(results, validation, tables, figures)))
    _remove_others(folder, written)
    return [*written, page]


def _shown(drawn: _FigureToDraw, caption: str, files: Sequence[Path], width: float, style: Path | None) -> Figure:
    """A figure on the page: of the width of its files as it is there, else drawn for it."""
    svg = next(path for path in files if path.suffix == ".svg").read_text(encoding="utf-8")
    others = [one for one in SCREENS if one != width]
    pictures = {width: Picture(svg)} | dict(
        zip(others, draw_pictures(drawn.draw, sheet=style, widths=others), strict=True)
    )
    lies = f"{drawn.name}.pdf, .svg, .png; its numbers: {drawn.name}.csv"
    return Figure(caption, tuple(pictures[one] for one in SCREENS), lies)


def check_report(folder: Path, overwrite: bool = True) -> None:
    """Check that a report may be written into a folder, before any work is done.

    Raises:
        LayerprobeError: if the folder is a file, or holds something else than a report, or a report that may not be
            replaced.
    """
    if folder.exists() and not folder.is_dir():
        raise LayerprobeError(f"{folder} is a file; --output names a folder for the report")
    if not folder.is_dir() or all(is_temporary(path) for path in folder.iterdir()):
        return
    page = folder / INDEX
    if not page.is_file() or GENERATOR not in page.read_text(encoding="utf-8", errors="replace"):
        raise LayerprobeError(f"{folder} is not empty and holds no report; name another --output")
    if not overwrite:
        raise LayerprobeError(f"{page} exists; name another --output")


def _write_table(table: Table, folder: Path, name: str) -> Iterator[Path]:
    for ending, format in _ENDINGS.items():
        path = folder / f"{name}.{ending}"
        write_text(path, render(table, format))
        yield path


def _remove_others(folder: Path, written: Sequence[Path]) -> None:
    """Delete what an earlier report wrote and this one didn't: it would show another state of the grid."""
    patterns = [f"{name}.{ending}" for name in _TABLES for ending in _ENDINGS]
    patterns += [path.name for name in _FIGURES for path in figure_paths(folder, name)]
    for pattern in patterns:
        for path in {*folder.glob(pattern)} - {*written}:
            path.unlink()


def _grid_figures(results: GridResults) -> Iterator[_FigureToDraw]:
    if not any(result.run for result in results.results) or are_untested(results):
        return
    yield _FigureToDraw(
        "grid-bars",
        partial(grid_bars_figure, results),
    )
    if len(method_labels(results)) > MOST_CURVES:
        return
    if have_accuracies(results):
        yield _FigureToDraw(
            "learning-curves",
            partial(learning_curves_figure, results),
        )
    yield _FigureToDraw(
        "cost",
        partial(cost_figure, results),
    )


def _validation_figures(validation: Validation | None) -> Iterator[_FigureToDraw]:
    """One figure per pair that has a finished student."""
    candidates = validation.candidates if validation else ()
    pairs = list(dict.fromkeys(one.pair for one in candidates if one.accuracies and one.scores))
    for pair, name in zip(pairs, _file_names(pairs), strict=True):
        assert validation is not None
        part = replace(validation, candidates=tuple(one for one in candidates if one.pair == pair))
        yield _FigureToDraw(name, partial(validation_figure, part))


def _file_names(pairs: Sequence[str]) -> tuple[str, ...]:
    """Of the figures of pairs: no two alike, also where labels differ in signs alone.

    Examples:
        >>> _file_names(["A to B", "A-to-B", "C"])
        ('validation-a-to-b--1', 'validation-a-to-b--2', 'validation-c')
    """
    if len(pairs) == 1:
        return ("validation",)
    slugs = [_slug(pair) for pair in pairs]
    numbered = (f"{slug}--{number}" if slugs.count(slug) > 1 else slug for number, slug in enumerate(slugs, 1))
    return tuple(f"validation-{name}" for name in numbered)


def _slug(label: str) -> str:
    """A label as the name of a file.

    Examples:
        >>> _slug("ResNet-56 to ResNet-20")
        'resnet-56-to-resnet-20'
    """
    return re.sub(r"[^a-z0-9]+", "-", label.lower()).strip("-") or "pair"


def _page(
    results: GridResults, validation: Validation | None, tables: dict[str, Table], figures: dict[str, Figure]
) -> Page:
    drawn = tuple(figure for name, figure in figures.items() if not name.startswith("validation"))
    sections = [
        Section(
            "Results", tuple(tables[name] for name in ("table", "pairs") if name in tables), drawn, _missing(results)
        ),
        Section("Every number", (tables["details"],)),
    ]
    if tables["states"].rows:
        sections.append(Section("Cells that failed", (tables["states"],)))
    if validation is not None:
        scatter = tuple(figure for name, figure in figures.items() if name.startswith("validation"))
        sections.append(Section(validation.title, (tables["correlations"],), scatter))
        sections.append(Section("Candidates", (tables["candidates"],)))
    provenance = {**results.provenance, **(validation.provenance if validation else {})}
    return Page(results.title, _extent(results), count_states(results), tuple(sections), provenance)


def _missing(results: GridResults) -> str:
    """Which figures are not drawn, and why; empty: all are."""
    if not any(result.run for result in results.results):
        return "No run is finished yet, so there is nothing to compare and no figure to draw."
    if are_untested(results):
        return "The students have no classifier, so there is no accuracy to draw. The tables have their losses."
    if len(method_labels(results)) > MOST_CURVES:
        return f"With more than {MOST_CURVES} methods, learning curves and cost are left to the tables."
    if not have_accuracies(results):
        return "The students have no classifier, so there are no learning curves to draw."
    return ""


def _extent(results: GridResults) -> str:
    """How large a grid is, in words."""
    cells = [result.cell for result in results.results]
    counts = {
        "pair": len({cell.pair for cell in cells}),
        "data set": len({cell.data for cell in cells} - {""}),
        "method": len({cell.label for cell in cells}),
        "seed": len({cell.seed for cell in cells}),
    }
    parts = [f"{count} {name}{'s' if count > 1 else ''}" for name, count in counts.items() if count]
    return f"{len(cells)} cells: {', '.join(parts)}"
