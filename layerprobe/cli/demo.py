"""``layerprobe demo``."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from layerprobe.cli import options
from layerprobe.cli.reporter import Reporter

EXAMPLES = """Examples:

layerprobe demo

layerprobe demo --output digits/ --seeds 5
"""


def demo(
    output: Annotated[Path, typer.Option("--output", "-o", help="The folder to make.")] = Path("layerprobe-demo"),
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Students per method.")] = 3,
    device: options.Device = "auto",
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
) -> None:
    """Run the main job on real digits, offline.

    Trains a teacher on scikit-learn's handwritten digits, extracts, ranks, draws, and distils students with three
    methods.
    """
    from layerprobe.experiments.demo import DemoConfig, run_demo, verdict
    from layerprobe.report.tables.ranking import ranking_table
    from layerprobe.report.tables.runs import runs_table

    config = DemoConfig(output, seeds, device, overwrite)
    with Reporter(quiet, verbose, usual=logging.WARNING) as reporter:
        result = run_demo(config, say=lambda line: None if quiet else reporter.say(line), progress=reporter.progress)
        reporter.show(ranking_table(result.ranking), "table")
        reporter.show(runs_table(result.runs), "table")
        reporter.say(verdict(result.runs))
        reporter.wrote(result.files, "the same with your own network: layerprobe extract --help")
