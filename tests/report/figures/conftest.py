"""Figures are drawn in the style of print."""

from collections.abc import Iterator

import pytest

from layerprobe.report.figures.style import paper_style


@pytest.fixture(autouse=True)
def in_the_style_of_print() -> Iterator[None]:
    with paper_style():
        yield
