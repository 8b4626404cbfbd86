"""The page of the demo: the students, and the layers of the teacher that they learn from."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from layerprobe.records import GridResults, Ranking
from layerprobe.report.figures.learning_curves import learning_curves_figure
from layerprobe.report.html.page import Figure, Page, Section
from layerprobe.report.html.pictures import draw_pictures
from layerprobe.report.pages.teacher import teacher_page
from layerprobe.report.tables.runs import runs_table


def demo_page(ranking: Ranking, students: GridResults, verdict: str, command: str) -> Page:
    """The page of the demo.

    Args:
        ranking: of the teacher's layers.
        students: their finished runs.
        verdict: which method was ahead, in a sentence.
        command: that measures more of the teacher's layers.
    """
    runs = [result.run for result in students.results if result.run]
    taught = next(run for run in runs if run.config["layers"])
    words = (
        f"{verdict[:1].upper()}{verdict[1:]}. {taught.method} learned from the teacher's layers "
        f"{taught.config['layers'].replace(',', ', ')}, which the rule {taught.config['layers_from']} chose."
    )
    curves = Figure(
        "Top-1 on the test images against epochs: the mean over seeds, and a band of one standard deviation.",
        draw_pictures(partial(learning_curves_figure, students)),
    )
    page = teacher_page(ranking, "This command measures and draws them:", command)
    return replace(
        page,
        title="layerprobe demo: what a student learns, and which layers it learns from",
        sections=(
            Section("The students", (runs_table(runs),), (curves,), text=words),
            *page.sections,
        ),
    )
