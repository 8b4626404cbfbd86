from matplotlib.figure import Figure

from layerprobe.report.figures.log_axis import label_plainly


def test_numbers_on_a_logarithmic_axis_are_written_plainly() -> None:
    figure = Figure()
    axis = figure.subplots()
    axis.plot([0.3, 0.9])
    axis.set_yscale("log")
    axis.set_ylim(0.25, 1.2)
    label_plainly(axis.yaxis)
    figure.draw_without_rendering()
    major, minor = ([label.get_text() for label in axis.get_yticklabels(which=which)] for which in ("major", "minor"))
    assert "1" in major
    assert {"0.3", "0.6"} <= set(minor)
    assert not any("e" in text or "$" in text for text in (*major, *minor))
