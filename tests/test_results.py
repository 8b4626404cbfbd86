"""The results that the documentation shows are those of the records beside it."""

from pathlib import Path

import pytest

from layerprobe.experiments.grids.results import read_grid

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("folder", sorted(path.parent for path in (DOCS / "results").glob("*/grid.yaml")), ids=str)
def test_the_page_says_what_the_records_hold(folder: Path) -> None:
    results = read_grid(folder).results
    done = [result for result in results if result.run]
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    assert all(result.state in ("done", "waiting") for result in results)
    assert (folder / "grid.yaml").read_text() == (DOCS.parent / "examples/paper" / f"{folder.name}.yaml").read_text()
    assert f"{len(done)} of {len(results)} cells are done" in page
    rows = [[cell.strip() for cell in line.split("|")] for line in page.splitlines() if line.startswith("| `")]
    for method in {result.cell.method for result in done}:
        reached = [result.run.last_accuracy for result in done if result.cell.method == method and result.run]
        (said,) = (row[-2] for row in rows if row[1] == f"`{method}`")
        assert said.startswith(f"{sum(reached) / len(reached):.2f}") and said.endswith(f"({len(reached)})"), method
