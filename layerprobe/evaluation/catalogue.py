"""The ways in which a network is evaluated, by name, without importing PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

from layerprobe.catalogue import Catalogue, Entry

CLASSIFIER, AGREEMENT = "classifier", "agreement"


@dataclass(frozen=True)
class Evaluator(Entry):
    """A way of evaluation. The target of one that looks at a layer's features is a function of ``Evidence``.

    Attributes:
        of_layer: whether it looks at one layer's features of labelled images, and gives a value of every image.
        learns: whether it takes training images, too.
        measures: what the value is called, for tables.
    """

    of_layer: bool = True
    learns: bool = False
    measures: str = "top-1"


_HERE = "layerprobe.evaluation.ways"

EVALUATORS = Catalogue(
    "way of evaluation",
    (
        Evaluator(CLASSIFIER, "classifier", "the network's own classifier, or that of --head", "", of_layer=False),
        Evaluator(
            "knn", "k-NN", "the vote of the most similar training images, by the cosine of features", f"{_HERE}:knn",
            learns=True,
        ),
        Evaluator(
            "probe", "linear probe", "logistic regression on the features of the training images", f"{_HERE}:probe",
            learns=True,
        ),
        Evaluator(
            "retrieval", "retrieval", "the mean average precision of every image as a query among the others",
            f"{_HERE}:retrieval", measures="mAP",
        ),
        Evaluator(
            AGREEMENT, "agreement", "how alike student and teacher see the images: linear CKA and cosine", "",
            of_layer=False, measures="CKA",
        ),
    ),
)  # fmt: skip
"""Every way of evaluation."""
