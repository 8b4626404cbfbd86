"""``layerprobe demo``."""

from __future__ import annotations

import logging

from layerprobe.cli.options import Command
from layerprobe.cli.reporter import Reporter
from layerprobe.settings.demo import DemoSettings
from layerprobe.settings.display import DisplaySettings

EXAMPLES = """
layerprobe demo
layerprobe demo --output digits/ --seeds 5
"""


def demo(settings: DemoSettings, display: DisplaySettings) -> None:
    """Run the main job on real digits, offline.

    The demo trains a teacher on scikit-learn's handwritten digits, extracts its features, ranks its layers, draws
    figures, and distils students from a hundred of the digits with three methods.
    """
    from layerprobe.experiments.demo import run_demo, verdict
    from layerprobe.report.tables.ranking import ranking_table
    from layerprobe.report.tables.runs import runs_table

    with Reporter(display, usual=logging.WARNING) as reporter:
        result = run_demo(settings, say=reporter.hint, progress=reporter.progress)
        reporter.show(ranking_table(result.ranking))
        reporter.show(runs_table(result.runs))
        reporter.say(verdict(result.runs))
        reporter.wrote(result.files, "the same with your own network: layerprobe extract --help")


COMMAND = Command("demo", demo, EXAMPLES, interrupted="the same command with --overwrite begins anew")
