"""A worker process: ``python -m layerprobe.experiments.grid.worker FOLDER [WORKERS]`` runs cells of the grid there.

So many workers are on its device, this one included.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

from layerprobe.errors import LayerprobeError
from layerprobe.experiments.grid.grid_file import load_grid
from layerprobe.experiments.grid.results import GRID_FILE
from layerprobe.experiments.grid.work import work
from layerprobe.records import Cell, EpochMetrics
from layerprobe.runtime.interruption import exit_code, interruptible
from layerprobe.runtime.memory import share_gpu


def run_worker(folder: str) -> int:
    """Run cells until none is left, and log to stderr; how many this worker ran to their end."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    log = logging.getLogger("layerprobe")
    log.setLevel(logging.INFO)

    def say(cell: Cell, metrics: EpochMetrics, epochs: int) -> None:
        losses = "  ".join(f"{name} {value:.4f}" for name, value in metrics.losses.items())
        tested = "" if metrics.test_accuracy is None else f"  test top-1 {metrics.test_accuracy:.2f} %"
        log.info("epoch %d/%d  %s%s", metrics.epoch, epochs, losses, tested)

    place = Path(folder)
    with interruptible():
        return len(work(load_grid(place / GRID_FILE), place, say))


def main(folder: str, beside: str = "1") -> int:
    """Run cells as a process of its own, one of so many on its device; its exit code."""
    try:
        share_gpu(int(beside))
        run_worker(folder)
    except KeyboardInterrupt as interruption:
        return exit_code(interruption)
    except LayerprobeError as error:
        logging.getLogger("layerprobe").error("%s", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
