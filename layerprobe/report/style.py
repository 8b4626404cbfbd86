"""One look for every figure: headless, fonts as text, safe for the colour-blind and in grey."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from layerprobe.errors import LayerprobeError

COLUMN_WIDTH, PAGE_WIDTH = 3.4, 7.0
"""Inches: one column, and the whole page, of a two-column paper."""

# Okabe and Ito's palette; line styles and markers keep the lines apart without it.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
LINES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)), (0, (1, 1)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SELECTED = "#E69F00"

FORMATS = ("pdf", "png")

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7.5,
    "axes.titlesize": 8.5,
    "axes.labelsize": 7.5,
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
}


@contextmanager
def paper_style() -> Iterator[None]:
    """Draw in the house style."""
    with matplotlib.rc_context(_STYLE):
        yield


def new_figure(width: float, height: float) -> Figure:
    """An empty figure that needs no screen; sizes in inches."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def figure_paths(folder: Path, name: str) -> list[Path]:
    """Where a figure's files go."""
    return [folder / f"{name}.{format}" for format in FORMATS]


def check_figure(folder: Path, name: str, overwrite: bool) -> None:
    """Refuse to draw over a figure that exists, before any work is done.

    Raises:
        LayerprobeError: if one of its files exists and may not be overwritten, or the folder is a file.
    """
    if folder.exists() and not folder.is_dir():
        raise LayerprobeError(f"{folder} is a file; --output names a folder for the figures")
    existing = [path for path in figure_paths(folder, name) if path.exists()]
    if existing and not overwrite:
        raise LayerprobeError(f"{existing[0]} exists; --overwrite replaces it")


def save_figure(figure: Figure, folder: Path, name: str, overwrite: bool) -> list[Path]:
    """Write a figure as PDF and PNG.

    Raises:
        LayerprobeError: if one of the files exists and may not be overwritten; none is written then.
    """
    check_figure(folder, name, overwrite)
    folder.mkdir(parents=True, exist_ok=True)
    paths = figure_paths(folder, name)
    with paper_style():
        for path in paths:
            # Without the date, the same figure is the same file.
            figure.savefig(path, metadata={"CreationDate": None} if path.suffix == ".pdf" else None)
    return paths
