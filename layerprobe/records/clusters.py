"""Where clusters of images come from that stand for classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from layerprobe.records.fields import Count, Defined, Text

GIVEN, BY_SILHOUETTE = "given", "silhouette"
"""How the number of clusters was decided."""


@dataclass(frozen=True)
class ClusterSource:
    """How clusters were found; a ranking file holds it.

    Attributes:
        layer: whose features the images were grouped by.
        count: k; 0: the sample has no clusters.
        chosen: ``given``, or ``silhouette``: of all numbers from 2 to 20 the one of highest mean silhouette.
        silhouette: the mean silhouette of the images; NaN where there are no clusters.
        seed: of k-means.
        smallest: images in the smallest cluster.
    """

    layer: Text
    count: Count
    chosen: Text
    silhouette: Defined
    seed: Count
    smallest: Count

    def __str__(self) -> str:
        if not self.count:
            return f"no clusters of the images were found in {self.layer}"
        by = f", the number of highest silhouette ({self.silhouette:.2f})" if self.chosen == BY_SILHOUETTE else ""
        if not by and not math.isnan(self.silhouette):
            by = f", silhouette {self.silhouette:.2f}"
        return f"{self.count} clusters of the images by {self.layer} (k-means, seed {self.seed}{by}), not their classes"


def cluster_source(provenance: Mapping[str, Any]) -> ClusterSource | None:
    """How the clusters of a ranking were found; None: it has no scores of clusters."""
    found = provenance.get("clusters")
    if not found:
        return None
    return ClusterSource(**{**found, "silhouette": math.nan if found["silhouette"] is None else found["silhouette"]})
