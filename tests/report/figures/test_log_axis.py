import pytest
from matplotlib.figure import Figure

from layerprobe.report.figures.log_axis import label_plainly


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0.25, 1.2, ["0.4", "0.6", "0.8", "1", "1.2"]),
        (83, 97, ["85", "90", "95"]),
        (700, 6500, ["2000", "4000", "6000"]),
        (0.02, 40, ["0.1", "1", "10"]),
        (3e-6, 0.3, ["$\\mathdefault{10^{-5}}$", "$\\mathdefault{10^{-3}}$", "$\\mathdefault{10^{-1}}$"]),
    ],
)
def test_numbers_on_a_logarithmic_axis_are_written_plainly(low: float, high: float, wanted: list[str]) -> None:
    figure = Figure()
    axis = figure.subplots()
    axis.set_yscale("log")
    axis.set_ylim(low, high)
    label_plainly(axis.yaxis)
    figure.draw_without_rendering()
    shown = [
        label.get_text()
        for which in ("major", "minor")
        for label in axis.get_yticklabels(which=which)
        if low <= label.get_position()[1] <= high and label.get_text()
    ]
    assert set(wanted) <= set(shown)
    assert not any("e" in text.replace("mathdefault", "") for text in shown)


def test_numbers_stand_between_the_powers_where_there_is_room() -> None:
    figure = Figure()
    axis = figure.subplots()
    axis.set_yscale("log")
    axis.set_ylim(0.5, 12)
    label_plainly(axis.yaxis)
    figure.draw_without_rendering()
    minor = [label.get_text() for label in axis.get_yticklabels(which="minor")]
    assert {"2", "6"} <= set(minor)
