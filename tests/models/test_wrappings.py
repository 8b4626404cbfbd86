"""Checkpoints in the wrappings in which people publish them: loaded whole, or refused with what is true."""

from pathlib import Path

import torch

from tests.helpers.wrappings import good, load, row, wrappings, write

PAGE = Path(__file__).parents[2] / "docs" / "models-and-data.md"


def test_what_is_said_of_every_wrapping_is_what_the_page_says(tmp_path: Path) -> None:
    """`python -m tests.helpers.wrappings` prints the table."""
    lines = []
    for wrapping in wrappings():
        model, said = load(write(wrapping, tmp_path), wrapping)
        assert (model is not None) == wrapping.loads, said
        if model is not None:
            own, expected = model.state_dict(), good(wrapping.model)
            assert all(torch.equal(value, expected[name]) for name, value in own.items()), wrapping.name
        lines.append(row(wrapping, model is not None, said))
    assert len(lines) >= 20 and "\n".join(lines) in PAGE.read_text(encoding="utf-8")
