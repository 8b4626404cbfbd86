"""What the runs of a grid are compared by: their students' classifiers, or a score of their features."""

from __future__ import annotations

from dataclasses import dataclass

from layerprobe.evaluation.catalogue import EVALUATORS
from layerprobe.records import GridResults


@dataclass(frozen=True)
class Measure:
    """A number of every run, in percent.

    Attributes:
        name: of its column for machines.
        label: what tables and figures call it.
        quantity: what is measured, such as top-1.
    """

    name: str
    label: str
    quantity: str

    @property
    def sentence(self) -> str:
        """What begins a caption."""
        return f"{self.label[0].upper()}{self.label[1:]} of the last epoch"

    @property
    def title(self) -> str:
        """What a table of it shows."""
        return f"{', '.join(dict.fromkeys((self.label, self.quantity)))} on the test images (%)"


TOP1 = Measure("top1", "top-1", "top-1")


def measure_of(way: str) -> Measure:
    """The number that a way of evaluation gives; of no way that of the classifiers.

    Examples:
        >>> measure_of("").title, measure_of("probe").title
        ('top-1 on the test images (%)', 'linear probe, top-1 on the test images (%)')
    """
    if not way:
        return TOP1
    return Measure(way, EVALUATORS[way].label, EVALUATORS[way].measures)


def compared_by(results: GridResults) -> Measure:
    """What the methods of a grid are compared by."""
    return measure_of(results.way)
