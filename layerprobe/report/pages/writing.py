"""A page as a file: what it may replace, and how it is told from a page of something else."""

from __future__ import annotations

import hashlib
from pathlib import Path

from layerprobe.errors import LayerprobeError
from layerprobe.files import HEAD, check_replaceable, check_writable, write_text
from layerprobe.report.html.page import GENERATOR, Page, html_page


def mark_of(shows: str) -> str:
    """What a page of the same thing bears, and a page of something else doesn't."""
    return f"layerprobe-{hashlib.sha256(shows.encode()).hexdigest()[:16]}"


def check_page(path: Path, mark: str, overwrite: bool) -> None:
    """Refuse to replace what is no page, or a page of something else, before any work is done.

    Args:
        path: of the page.
        mark: of what it will show; a page that bears it may be replaced in any case.
        overwrite: whether a page of something else may be replaced.

    Raises:
        LayerprobeError: if it may not be written there.
    """
    folder = path.parent
    if folder.exists() and not folder.is_dir():
        raise LayerprobeError(f"{folder} is a file; --output names a folder for the page")
    check_writable(path)
    check_replaceable(path, "a page of layerprobe", lambda head: GENERATOR.encode() in head)
    if path.is_file() and not overwrite:
        with path.open("rb") as file:
            head = file.read(HEAD)
        if head and mark.encode() not in head:
            raise LayerprobeError(
                f"{path} is the page of another network or run; --overwrite replaces it, another --output leaves it"
            )


def write_page(page: Page, path: Path) -> None:
    """Write a page, whole or not at all."""
    text = html_page(page)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)
