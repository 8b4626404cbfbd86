"""What speaks against taking a ranking at its word: every limit with its reason, and a line for each that is passed."""

from __future__ import annotations

from collections import Counter

from layerprobe.records.ranking import Ranking

LEAST_FOR_INTERVALS = 4
"""Images of a class. Intervals come from the differences of disjoint halves of every class, and half a class needs two
images to have a cosine and a spectrum."""
FEW_IMAGES = 20
"""Images of a class. How often intervals hold the expected score was checked on samples of 20 images of a class and
more (docs/uncertainty.md), and the spectrum of fewer has fewer than 19 components, whatever the layer."""
NEAR_CEILING = 0.95
"""Of the largest entropy that the spectrum of so few images can have, ln(min(n_c - 1, D)). Two layers above it differ
by at most 5 % in this factor of information, which then shows the size of the sample instead of the layer."""
MANY_LAYERS = 0.5
"""The share of layers near that ceiling from which on it is said: the ranking is then mostly among them."""


def cautions(ranking: Ranking) -> tuple[str, ...]:
    """Lines for below a ranking's table; none where nothing speaks against it.

    Each looks at what the ranking holds: one that was read from a file has no labels, and says the size of its smallest
    class only where its sample was drawn by class.
    """
    found = (_undefined(ranking), _random_weights(ranking), _few_images(ranking), _saturated(ranking))
    return tuple(filter(None, found))


def _undefined(ranking: Ranking) -> str:
    layers = [f"{one.layer.name} ({one.undefined})" for one in ranking.geometries if one.undefined]
    return f"undefined, and left out of every choice: {', '.join(layers)}" if layers else ""


def _random_weights(ranking: Ranking) -> str:
    random = ranking.provenance.get("weights") == "random"
    return "the weights are random: the scores describe the architecture, before any training" if random else ""


def _few_images(ranking: Ranking) -> str:
    smallest = smallest_class(ranking)
    if not 0 < smallest < FEW_IMAGES:
        return ""
    return (
        f"few images: the smallest class has {smallest}; with fewer than {FEW_IMAGES} information shows the size of "
        "the sample more than the layer, and intervals were not checked"
    )


def smallest_class(ranking: Ranking) -> int:
    """How many images the smallest class of the sample has; 0 where the ranking doesn't say it."""
    if ranking.labels is not None:
        return min(Counter(ranking.labels.tolist()).values())
    sample = ranking.provenance.get("sample") or {}
    return int(sample.get("fewest_per_class") or sample.get("per_class") or 0)


def _saturated(ranking: Ranking) -> str:
    shares = [one.statistics.get("relative-entropy", 0.0) for one in ranking.geometries if not one.undefined]
    high = sum(share > NEAR_CEILING for share in shares)
    if not shares or high < MANY_LAYERS * len(shares):
        return ""
    return (
        f"saturated information: in {high} of {len(shares)} layers the entropy of the classes is above "
        f"{100 * NEAR_CEILING:.0f} % of the largest value that so few images allow; more images of each class tell "
        "such layers apart"
    )
