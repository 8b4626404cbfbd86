"""The style of every figure, at the size it is printed in, and its files: headless, with fonts as text."""

from __future__ import annotations

import hashlib
import io
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties

from layerprobe.errors import LayerprobeError
from layerprobe.files import check_replaceable, short_name, write_together
from layerprobe.report.figures.labels import fitted
from layerprobe.report.tables.table import Table, render
from layerprobe.text import printable

_log = logging.getLogger(__name__)

COLUMN_WIDTH, PAGE_WIDTH = 3.25, 6.75
"""Inches: one column, and the whole page, of a two-column paper."""
WIDTHS = {"column": COLUMN_WIDTH, "page": PAGE_WIDTH}

FORMATS = ("pdf", "svg", "png")

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7.0,
    "figure.titlesize": 7.0,
    "axes.titlesize": 7.5,
    "axes.labelsize": 7.0,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.0,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "layerprobe",  # the same figure is the same file
}


@dataclass(frozen=True, eq=False)
class Drawing:
    """A figure and the numbers that it shows.

    Attributes:
        figure: drawn.
        data: every point of it, as a table.
        caption: what it shows, of which images, and what its signs mean: whole sentences, not in the figure itself.
    """

    figure: Figure
    data: Table
    caption: str = ""


@contextmanager
def paper_style(sheet: Path | None = None) -> Iterator[None]:
    """Draw in the house style.

    Args:
        sheet: a matplotlib style sheet that is laid over it.

    Raises:
        LayerprobeError: if the sheet isn't there or isn't one.
    """
    with matplotlib.rc_context(_STYLE), _missing_glyphs_told():
        if sheet is not None:
            matplotlib.rcParams.update(_read_sheet(sheet))
        yield


@contextmanager
def _missing_glyphs_told() -> Iterator[None]:
    """Name the characters that the font lacks in one line, in place of matplotlib's warning about each."""
    missing: dict[str, None] = {}
    with warnings.catch_warnings():
        show = warnings.showwarning

        def hear(message: Warning | str, category: type[Warning], *where: Any) -> None:
            if found := _MISSING.match(str(message)):
                missing[chr(int(found[1]))] = None
            else:
                show(message, category, *where)

        warnings.filterwarnings("always", _MISSING.pattern, UserWarning)
        warnings.showwarning = hear  # type: ignore[assignment]
        yield
    if missing:
        _log.warning(
            "the figures' font has no %s: boxes stand there; a --style sheet with font.sans-serif names another font",
            ", ".join(missing),
        )


_MISSING = re.compile(r"Glyph (\d+) .*missing from")


def _read_sheet(sheet: Path) -> Any:
    if not sheet.is_file():
        raise LayerprobeError(f"no style sheet at {sheet}; --style names a .mplstyle file")
    try:
        values = matplotlib.rc_params_from_file(sheet, use_default_template=False)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise LayerprobeError(f"{sheet} is not a matplotlib style sheet: {error}") from None
    if not values:
        raise LayerprobeError(f"{sheet} sets nothing that matplotlib knows; --style names a .mplstyle file")
    return values


def new_figure(width: float, height: float) -> Figure:
    """An empty figure that needs no screen; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def is_narrow(width: float) -> bool:
    """Whether panels must lie one below the other."""
    return width < (COLUMN_WIDTH + PAGE_WIDTH) / 2


def figure_paths(folder: Path, name: str) -> list[Path]:
    """Where a figure's files go: the pictures, then the data."""
    return [folder / f"{short_name(name, 250)}.{format}" for format in (*FORMATS, "csv")]


_FITS: Mapping[str, Callable[[bytes], bool]] = {
    ".pdf": lambda head: head.startswith(b"%PDF-"),
    ".svg": lambda head: b"<svg" in head,
    ".png": lambda head: head.startswith(b"\x89PNG"),
    ".csv": lambda head: bool(re.match(rb"[^\0{}\n,]*,[^\0{}\n]*\n", head)),
}
"""What the files of a figure begin with."""


def check_figure(folder: Path, name: str, overwrite: bool, shows: str = "") -> None:
    """Refuse to draw over another figure, before any work is done.

    Args:
        folder: of the figure.
        name: of its files, without their endings.
        overwrite: whether what is there may be replaced.
        shows: as ``save_figure`` has it; a figure that was saved with the same may be drawn anew in any case.

    Raises:
        LayerprobeError: if one of its files exists and may not be replaced, or the folder is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise LayerprobeError(f"{folder} is a file; --output names a folder for the figures")
    for path in figure_paths(folder, name) if overwrite else ():
        check_replaceable(path, f"a figure's {path.suffix} file", _FITS[path.suffix])
    existing = [path for path in figure_paths(folder, name) if path.exists()]
    if existing and not overwrite and not _all_show(existing, shows):
        raise LayerprobeError(f"{existing[0]} exists; --overwrite replaces it, another --output leaves it")


def _all_show(existing: Sequence[Path], shows: str) -> bool:
    """Whether pictures bear the mark of what they show; data alone bear none."""
    pictures = [path for path in existing if path.suffix[1:] in FORMATS]
    return bool(shows and pictures) and all(
        path.is_file() and _mark(shows).encode() in path.read_bytes() for path in pictures
    )


def _mark(shows: str) -> str:
    return f"layerprobe-{hashlib.sha256(shows.encode()).hexdigest()[:16]}"


def _metadata(ending: str, shows: str, caption: str) -> dict[str, Any]:
    """The keywords of a picture bear its mark; without a date, the same figure is the same file."""
    mark = _mark(shows) if shows else ""
    fields: Mapping[str, dict[str, Any]] = {
        "pdf": {"Keywords": mark, "Subject": caption},
        "svg": {"Keywords": [mark] if mark else "", "Description": caption},
        "png": {"Keywords": mark, "Description": caption},
    }
    undated = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}
    return {key: value for key, value in fields[ending].items() if value} | undated.get(ending, {})


def write_caption(drawing: Drawing) -> None:
    """Write the caption above a figure, which grows by its height."""
    width, height = drawing.figure.get_size_inches()
    size = matplotlib.rcParams["figure.titlesize"]
    text = fitted(printable(drawing.caption), width - 0.12, "figure.titlesize", lines=12)
    points = FontProperties(size=size).get_size_in_points()
    drawing.figure.set_size_inches(width, height + (text.count("\n") + 1) * 1.25 * points / 72 + 0.05)
    drawing.figure.suptitle(text, x=0.06 / width, ha="left", fontsize=size)


def save_figure(
    draw: Callable[[], Drawing],
    folder: Path,
    name: str,
    overwrite: bool,
    sheet: Path | None = None,
    shows: str = "",
    caption: bool = False,
) -> list[Path]:
    """Draw a figure and write it as PDF, SVG and PNG, with its data as CSV.

    The pictures' metadata hold the caption.

    Args:
        draw: makes the figure; called in the house style.
        folder: where to, made if it is missing.
        name: of the files, without their endings.
        overwrite: whether existing files may be replaced.
        sheet: a matplotlib style sheet that is laid over the house style.
        shows: what the figure is of, in any words; its form doesn't count. Empty: nobody asks.
        caption: whether the caption stands in the figure, above it.

    Raises:
        LayerprobeError: if one of the files exists and may not be replaced; none is written then.
    """
    check_figure(folder, name, overwrite, shows)
    with paper_style(sheet):
        drawing = draw()
        if caption and drawing.caption:
            write_caption(drawing)
        *pictures, data = figure_paths(folder, name)
        contents = {path: picture(drawing, path.suffix[1:], shows) for path in pictures}
    contents[data] = render(drawing.data, "csv").encode()
    folder.mkdir(parents=True, exist_ok=True)
    write_together(contents)
    return [*contents]


def picture(drawing: Drawing, ending: str, shows: str = "") -> bytes:
    """The content of a picture's file: matplotlib doesn't say it well where it can't write one.

    Args:
        drawing: what is in the picture, drawn in the house style.
        ending: its format, one of ``FORMATS``.
        shows: as ``save_figure`` has it.
    """
    content = io.BytesIO()
    metadata = _metadata(ending, shows, printable(drawing.caption))
    drawing.figure.savefig(content, format=ending, metadata=metadata)
    return content.getvalue()
