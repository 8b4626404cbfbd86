"""``layerprobe demo``."""

from __future__ import annotations

import logging
import os
import sys
import webbrowser
from pathlib import Path

from layerprobe.cli.options import Command
from layerprobe.cli.reporter import Reporter
from layerprobe.settings.demo import DemoSettings
from layerprobe.settings.display import DisplaySettings

EXAMPLES = """
layerprobe demo
layerprobe demo --output digits/ --seeds 5
"""
FIRST = ("--output", "--seeds", "--device", "--overwrite")


def demo(settings: DemoSettings, display: DisplaySettings) -> None:
    """Run the main job on real digits, offline.

    The demo trains a teacher on scikit-learn's handwritten digits, extracts its features, ranks its layers, draws
    figures, distils students from a hundred of the digits with three methods, and shows all of it on a page.
    """
    from layerprobe.experiments.demo import run_demo, verdict
    from layerprobe.report.tables.ranking import ranking_table
    from layerprobe.report.tables.runs import runs_table

    with Reporter(display, usual=logging.WARNING) as reporter:
        result = run_demo(settings, say=reporter.hint, progress=reporter.progress)
        reporter.show(ranking_table(result.ranking))
        reporter.show(runs_table(result.runs))
        reporter.say(verdict(result.runs))
        opened = settings.browser and open_page(result.page)
        look = "" if opened else f"open {result.page} in a browser; "
        reporter.wrote(result.files, f"{look}the same with your own network: layerprobe extract --help")


def open_page(page: Path) -> bool:
    """Show a page in a browser, if somebody sits at a screen; whether it was shown.

    Without a screen a browser that works in the terminal would take it.
    """
    screen = sys.platform in ("darwin", "win32") or bool({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())
    return screen and sys.stderr.isatty() and webbrowser.open(page.resolve().as_uri())


COMMAND = Command("demo", demo, EXAMPLES, FIRST, interrupted="the same command with --overwrite begins anew")
