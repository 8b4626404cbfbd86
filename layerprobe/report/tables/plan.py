"""What a grid is about to do, as a table."""

from __future__ import annotations

from collections.abc import Mapping

from layerprobe.records import GridResults
from layerprobe.report.tables.table import Column, Table


def plan_table(results: GridResults, seconds: Mapping[str, float], jobs: int) -> Table:
    """Every cell with its state and the time that it will take.

    Args:
        results: the cells.
        seconds: of every unfinished cell, by the path of its run.
        jobs: workers that divide the cells.
    """
    rows = []
    for result in results.results:
        cell = result.cell
        rows.append(
            {
                "pair": cell.pair,
                "data": cell.data,
                "method": cell.label,
                "seed": cell.seed,
                "state": result.state,
                "seconds": seconds.get(cell.path),
                "path": cell.path,
            }
        )
    left = sum(seconds.values())
    with_data = any(row["data"] for row in rows)
    return Table(
        title=results.title,
        columns=(
            Column("pair", "pair", "left", key=True),
            *((Column("data", "data", "left", key=True),) if with_data else ()),
            Column("method", "method", "left", key=True),
            Column("seed", "seed", key=True),
            Column("state", "state", "left"),
            Column("seconds", "estimated seconds", digits=0),
            Column("path", "run", "left", latex=False),
        ),
        rows=tuple(rows),
        notes=(
            f"{len(rows)} cells, {sum(row['state'] == 'done' for row in rows)} done; the others take about "
            f"{_words(left / jobs)} with {jobs} {'worker' if jobs == 1 else 'workers'} as fast as this machine is now",
        ),
        details={"seconds": left, "jobs": jobs},
    )


def _words(seconds: float) -> str:
    """A duration for people.

    Examples:
        >>> _words(42), _words(600), _words(9000)
        ('42 seconds', '10 minutes', '2.5 hours')
    """
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
