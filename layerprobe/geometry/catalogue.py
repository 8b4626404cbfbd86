"""Every statistic of a layer: its name, its symbol, what computes it from what, and which values are better.

This is the one place where a statistic is named. Tables and their columns, figures, ``--by``, ``--statistics``, the
rules that choose layers, ``layerprobe validate`` and the documentation are derived from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from layerprobe.catalogue import Catalogue, DerivedCatalogue, Entry, plugin_entry
from layerprobe.plugins import split_file_name

ALWAYS = "scores"
"""The family of what is always measured."""
UNMEASURED = ""
"""The family of what is known of a layer without its features."""
CLUSTERS = "clusters"
"""The family of the scores whose classes are clusters of the images."""
TWO_VIEWS = "two-views"
"""The family of what compares two views of every image."""
GIVEN = ("gram", "labels", "population", "components", "place", "layers", "clusters", "both-views")
"""What a statistic may take that is not computed: of a layer's sample its ``Gram``, the (n,) labels in it, N and
r = min(n, D); of the layer its place among the layers, from 0, and how many layers there are; of all layers together
the (n,) clusters of the images; and the ``Gram`` of two views of the images, all of the first before those of the
second, which is None where there is one view."""


@dataclass(frozen=True)
class Quantity(Entry):
    """Something that is computed of a layer by a pure function of what it declares. ``target`` is the function.

    Attributes:
        takes: what the function is given, in order: names in ``GIVEN``, or of other quantities and statistics, which
            are computed first, once for all that take them.
        options: further arguments of the function, by name.
        images: how many images of every class the sample must have; else the value is NaN.
        classes: how many classes it must have; 0: it does not look at classes, nor does it need labels.
        summaries: ``module:function`` that says which summaries of a Gram matrix the function gathers. Empty: if it
            takes ``gram``, the matrix must lie in memory.
    """

    takes: tuple[str, ...] = ("gram",)
    options: tuple[tuple[str, Any], ...] = ()
    images: int = 1
    classes: int = 0
    summaries: str = ""


@dataclass(frozen=True)
class Statistic(Quantity):
    """A number that describes a layer.

    Attributes:
        symbol: how a paper writes it; the heading of its column.
        family: what it is measured together with, as ``--statistics`` names it; ``ALWAYS``; or ``UNMEASURED``.
        direction: which values are better. A statistic that has a direction is a score: layers can be chosen by it.
            Empty: neither.
        digits: decimals in a table.
        interval: whether it has an interval. Of what is always measured it follows from the parts that
            ``layerprobe.geometry.parts`` resamples, and is computed of smaller samples too; of another family from
            what ``DEVIATIONS`` has for the family.
        shown: whether the table of a ranking always shows it where it was measured; otherwise only if layers are
            chosen by it.
        figures: names of the figures that show it.
        range: which values it takes, for the documentation.
        reading: a short paragraph for people who see it for the first time: what it says, and what to beware of.
        page: of the documentation that defines it; empty: that of what it is a part of.
    """

    symbol: str = ""
    family: str = ALWAYS
    direction: Literal["high", "low", ""] = ""
    digits: int = 3
    interval: bool = False
    shown: bool = True
    figures: tuple[str, ...] = ()
    range: str = ""
    reading: str = ""
    page: str = ""

    @property
    def sign(self) -> int:
        """1, or -1 where low values are better: ``sign * value`` is the better, the higher it is."""
        return -1 if self.direction == "low" else 1

    @property
    def title(self) -> str:
        """Its label, with its symbol where that is shorter: the heading of a panel."""
        return f"{self.label} {self.symbol}" if len(self.symbol) < len(self.label) else self.label


@dataclass(frozen=True)
class Measure(Entry):
    """A way to compare two layers. ``target`` gives the matrix of two sequences of what ``prepare`` makes of a layer.

    Attributes:
        prepare: ``module:function`` that makes of a ``Gram`` what the comparison needs.
        restrict: ``module:function`` that makes of this what it is of some of the images alone, given their rows, for
            the intervals; empty: it has none.
        direction: whether layers are alike where values are high, or low.
    """

    prepare: str = ""
    restrict: str = ""
    direction: Literal["high", "low"] = "high"


@dataclass(frozen=True)
class Family(Entry):
    """Statistics that are measured together. ``target`` measures them, given a ``Gram`` and the family's name."""


def _own_statistic(name: str) -> Statistic:
    """A user's function of a ``Gram``: a family of its own, and the better, the higher it is."""
    plugin_entry(name).load()
    return described(name)


_GEOMETRY = "layerprobe.geometry"


def _cluster_scores() -> Iterator[Statistic]:
    """S, I, E and Q with clusters of the images in place of classes."""
    for name, symbol, values, says in (
        ("separation", "S", "-1 to 1", "how much more alike images of a cluster are than images of different clusters"),
        ("information", "I", "from 0", "how widely the features of each cluster spread"),
        ("efficiency", "E", "from 0", "how far the clusters are apart, relative to the length of the features"),
        ("quality", "Q", "from -1", "S + sqrt(I E) of the clusters"),
    ):
        yield Statistic(
            f"cluster-{name}", f"{name} of clusters", f"{says}; clusters of the images, not their classes",
            f"{_GEOMETRY}.cluster_scores:score_of", takes=("cluster-scores",), options=(("name", name),),
            symbol=f"{symbol}_clu", family=CLUSTERS, direction="high", interval=True,
            range=values, page="clusters",
        )  # fmt: skip


STATISTICS = Catalogue(
    "statistic",
    (
        Statistic(
            "separation", "separation", "how much more alike images of a class are than images of different classes",
            f"{_GEOMETRY}.quality:separation", takes=("intra-cosine", "inter-cosine"),
            symbol="S", direction="high", interval=True, figures=("quality", "sizes"),
            range="-1 to 1", page="separation",
            reading=(
                "How much more alike a layer sees two images of one class than images of two classes: the mean "
                "absolute cosine within classes, less that between them. It is 1 where every class has a direction "
                "of its own, and 0 where classes are not told apart. After a ReLU all cosines are large, and S is "
                "small."
            ),
        ),
        Statistic(
            "information", "information", "how widely the features of each class spread",
            f"{_GEOMETRY}.quality:information", takes=("min-intra-cosine", "spectral-entropy"),
            symbol="I", direction="high", interval=True, figures=("quality", "sizes"),
            range="0 to ln(min(n_c - 1, D)) / ln 5", page="information",
            reading=(
                "How much of the difference between images of one class a layer keeps: how unlike the two least "
                "similar images of a class are, times the entropy of the directions that the class fills. It is "
                "near 0 where every class has collapsed to a point. It grows with the number of images per class, "
                "so compare it between samples of one size alone."
            ),
        ),
        Statistic(
            "efficiency", "efficiency", "how far the classes are apart, relative to the length of the features",
            f"{_GEOMETRY}.quality:efficiency", takes=("class-gap", "feature-norm", "population", "components"),
            symbol="E", direction="high", interval=True, figures=("quality", "sizes"),
            range="0 to 4 (N / π)^(1/r)", page="efficiency",
            reading=(
                "How far each class stands from the nearest image of another class, relative to the length of the "
                "features. It is 0 where every class has an image that coincides with one of another class. The "
                "distance is a minimum, so a single mislabelled image decides that of its class, and it falls as "
                "the sample grows."
            ),
        ),
        Statistic(
            "quality", "knowledge quality", "S + sqrt(I E)",
            f"{_GEOMETRY}.quality:quality", takes=("separation", "information", "efficiency"),
            symbol="Q", direction="high", interval=True, figures=("quality", "sizes"),
            range="from -1", page="quality",
            reading=(
                "S + sqrt(I E) in one number: high where classes are apart and images of one class still differ. It "
                "says where knowledge is densest, not what a given student can use. Neighbouring layers often have "
                "nearly the same Q, so look at the intervals, and compare the choice with evenly spread layers."
            ),
        ),
        Statistic(
            "information-normalised", "normalised information", "I relative to the largest value that it can take",
            f"{_GEOMETRY}.quality:normalised_information", takes=("min-intra-cosine", "relative-entropy"),
            symbol="I_n", direction="high", interval=True, shown=False, figures=("sizes",),
            range="0 to 1", page="information",
        ),
        Statistic(
            "quality-normalised", "normalised quality", "S + sqrt(I_n E)",
            f"{_GEOMETRY}.quality:quality", takes=("separation", "information-normalised", "efficiency"),
            symbol="Q_n", direction="high", interval=True, shown=False, figures=("sizes",),
            range="from -1", page="quality",
        ),
        Statistic(
            "sqrt-ie", "quality without separation", "sqrt(I E): Q without S",
            f"{_GEOMETRY}.quality:geometric_mean", takes=("information", "efficiency"),
            symbol="sqrt(IE)", direction="high", interval=True, shown=False,
            range="from 0", page="quality",
        ),
        Statistic(
            "depth", "depth", "the place of the layer in the network, a baseline",
            f"{_GEOMETRY}.quality:relative_depth", takes=("place", "layers"),
            symbol="depth", family=UNMEASURED, direction="high", shown=False,
            range="0 to 1", page="depth",
        ),
        Statistic(
            "intra-cosine", "intra-class cosine", "mean absolute cosine of two images of a class",
            f"{_GEOMETRY}.cosines:intra_cosine", takes=("class-cosines",), symbol="intra", shown=False, images=2,
        ),
        Statistic(
            "inter-cosine", "inter-class cosine", "mean absolute cosine of images of two classes",
            f"{_GEOMETRY}.cosines:inter_cosine", takes=("class-cosines",), symbol="inter", shown=False, classes=2,
        ),
        Statistic(
            "min-intra-cosine", "least intra-class cosine", "least absolute cosine of two images of a class",
            f"{_GEOMETRY}.cosines:min_intra_cosine", takes=("class-cosines",), symbol="minintra", shown=False, images=2,
        ),
        Statistic(
            "self-pairs", "self-pairs", "by how much the released code's S is larger",
            f"{_GEOMETRY}.cosines:self_pairs", takes=("class-cosines",), symbol="self-pairs", shown=False, images=2,
        ),
        Statistic(
            "spectral-entropy", "spectral entropy", "entropy of the spectrum of a class, in nats",
            f"{_GEOMETRY}.spectrum:absolute_entropy", takes=("class-entropies",), symbol="H", shown=False, images=2,
        ),
        Statistic(
            "relative-entropy", "relative entropy", "H relative to the largest value it can take",
            f"{_GEOMETRY}.spectrum:relative_entropy", takes=("class-entropies",), symbol="H_n", shown=False, images=3,
        ),
        Statistic(
            "class-gap", "class gap", "least distance of a class to another one",
            f"{_GEOMETRY}.margins:mean_class_gap", symbol="gap", shown=False, classes=2,
            summaries=f"{_GEOMETRY}.margins:summaries",
        ),
        Statistic(
            "feature-norm", "feature length", "mean length of the features of a class",
            f"{_GEOMETRY}.margins:mean_class_norm", symbol="norm", shown=False, classes=1,
            summaries=f"{_GEOMETRY}.strips:nothing",
        ),
        Statistic(
            "dimension", "features", "how many features an image has",
            f"{_GEOMETRY}.gram:feature_count", takes=("gram",), symbol="D", digits=0, shown=False,
            summaries=f"{_GEOMETRY}.strips:nothing",
        ),
        Statistic(
            "twonn", "TwoNN", "intrinsic dimension, from the two nearest neighbours",
            f"{_GEOMETRY}.neighbours:twonn_dimension", takes=("neighbour-distances",),
            symbol="TwoNN", family="neighbours", direction="low", digits=1, interval=True, figures=("dimensions",),
            range="above 0", page="twonn",
        ),
        Statistic(
            "mle", "maximum likelihood", "intrinsic dimension, from the twenty nearest neighbours",
            f"{_GEOMETRY}.neighbours:mle_dimension", takes=("neighbour-distances",),
            symbol="MLE", family="neighbours", digits=1, interval=True, figures=("dimensions",),
            range="above 0", page="mle-dimension",
        ),
        Statistic(
            "pca-90", "PCA, 90 %", "principal components that hold 90 % of the variance",
            f"{_GEOMETRY}.dimensions:pca_dimension", takes=("variance-shares",), options=(("variance", 0.9),),
            symbol="PCA-90", family="dimensions", digits=0, figures=("dimensions", "spectra"),
            range="1 to min(n - 1, D)", page="pca-dimension",
        ),
        Statistic(
            "pca-95", "PCA, 95 %", "principal components that hold 95 % of the variance",
            f"{_GEOMETRY}.dimensions:pca_dimension", takes=("variance-shares",), options=(("variance", 0.95),),
            symbol="PCA-95", family="dimensions", digits=0, figures=("dimensions",),
            range="1 to min(n - 1, D)", page="pca-dimension",
        ),
        Statistic(
            "effective-rank", "effective rank", "number of principal components, by their entropy",
            f"{_GEOMETRY}.dimensions:effective_rank", takes=("variance-shares",),
            symbol="eff. rank", family="dimensions", direction="high", digits=1, interval=True,
            figures=("dimensions", "spectra"),
            range="1 to min(n - 1, D)", page="effective-rank",
        ),
        Statistic(
            "participation-ratio", "participation ratio", "number of principal components, the strong counting more",
            f"{_GEOMETRY}.dimensions:participation_ratio", takes=("variance-shares",),
            symbol="PR", family="dimensions", digits=1, interval=True, figures=("dimensions",),
            range="1 to min(n - 1, D)", page="participation-ratio",
        ),
        Statistic(
            "alpha-req", "alpha-ReQ", "decay exponent of the spectrum, from the eleventh to the hundredth eigenvalue",
            f"{_GEOMETRY}.decay:decay_exponent", takes=("variance-shares",),
            symbol="alpha-ReQ", family="dimensions", interval=True,
            range="from 0", page="alpha-req",
        ),
        Statistic(
            "nc1", "neural collapse", "variability within classes, relative to that between their means",
            f"{_GEOMETRY}.collapse:within_class_variability",
            symbol="NC1", family="collapse", direction="low", classes=2,
            summaries=f"{_GEOMETRY}.collapse:summaries",
            range="from 0", page="neural-collapse",
        ),
        Statistic(
            "knn", "k-nearest-neighbour accuracy", "share of images whose ten nearest neighbours vote for their class",
            f"{_GEOMETRY}.neighbours:knn_accuracy", takes=("voters", "labels"),
            symbol="10-NN", family="neighbours", direction="high",
            range="0 to 1", page="knn-accuracy",
        ),
        Statistic(
            "probe", "linear probe", "accuracy of a linear classifier on the other half of the images",
            f"{_GEOMETRY}.probe:probe_accuracy", symbol="probe", family="probe", direction="high",
            classes=2,
            range="0 to 1", page="linear-probe",
        ),
        Statistic(
            "logme", "LogME", "how probable the features make the labels: logarithm of maximum evidence",
            f"{_GEOMETRY}.logme:log_maximum_evidence", symbol="LogME", family="logme", direction="high", digits=4,
            page="logme", classes=2,
        ),
        Statistic(
            "rankme", "RankMe", "number of singular values of the features as they are, by their entropy",
            f"{_GEOMETRY}.dimensions:rankme", takes=("singular-shares",),
            symbol="RankMe", family="rankme", direction="high", digits=1, interval=True,
            range="1 to min(n, D)", page="rankme",
        ),
        Statistic(
            "lidar", "LiDAR", "number of directions that tell images apart whatever was done to them",
            f"{_GEOMETRY}.two_views:lidar", takes=("both-views",),
            symbol="LiDAR", family=TWO_VIEWS, direction="high", digits=1, interval=True,
            range="1 to min(n - 1, D)", page="two-views",
        ),
        Statistic(
            "infonce", "InfoNCE", "how surely an image is known among all others by another view of it",
            f"{_GEOMETRY}.two_views:info_nce", takes=("both-views",),
            symbol="InfoNCE", family=TWO_VIEWS, direction="high", interval=True,
            range="up to 1", page="two-views",
        ),
        *_cluster_scores(),
    ),
    plugin=_own_statistic,
)  # fmt: skip
"""Every statistic, in the order of a table's columns; a user's own is ``FILE.py:name``, a function of a ``Gram``.

Low values are taken for the better ones of NC1, which falls as classes collapse, and of the intrinsic dimension by
TwoNN, which is lower in late layers of networks that generalise better (Ansuini et al., NeurIPS 2019); a higher RankMe,
of which the effective rank is a form, goes with better features (Garrido et al., ICML 2023).
"""

QUANTITIES = Catalogue(
    "quantity",
    (
        Quantity(
            "class-cosines", "class cosines", "means of absolute cosines within and between classes",
            f"{_GEOMETRY}.cosines:cosine_statistics", classes=1, summaries=f"{_GEOMETRY}.cosines:summaries",
        ),
        Quantity(
            "class-entropies", "class entropies", "means of the entropies of the classes' spectra",
            f"{_GEOMETRY}.spectrum:class_entropies", classes=1, summaries=f"{_GEOMETRY}.spectrum:summaries",
        ),
        Quantity(
            "neighbourhood", "neighbourhood", "every image's nearest neighbours",
            f"{_GEOMETRY}.neighbours:neighbourhood", summaries=f"{_GEOMETRY}.neighbours:summaries",
        ),
        Quantity(
            "neighbour-distances", "neighbour distances", "distances to the nearest neighbours",
            f"{_GEOMETRY}.neighbours:neighbour_distances", takes=("neighbourhood",),
        ),
        Quantity(
            "voters", "voters", "the nearest neighbours that vote for a class",
            f"{_GEOMETRY}.neighbours:voters", takes=("neighbourhood",),
        ),
        Quantity(
            "variance-shares", "shares of variance", "shares of variance of the principal components",
            f"{_GEOMETRY}.dimensions:variance_spectrum",
        ),
        Quantity(
            "singular-shares", "shares of singular values", "singular values of features that are not centred",
            f"{_GEOMETRY}.dimensions:singular_shares",
        ),
        Quantity(
            "cluster-scores", "scores of clusters", "the scores of a layer with clusters in place of classes",
            f"{_GEOMETRY}.cluster_scores:cluster_scores", takes=("gram", "clusters"),
        ),
    ),
)  # fmt: skip
"""What several statistics are computed from."""

DEVIATIONS = Catalogue(
    "deviations",
    (
        Quantity(
            "neighbours", "neighbours", "dimensions from nearest neighbours, in halves of the sample",
            f"{_GEOMETRY}.part_neighbours:neighbour_deviations", summaries=f"{_GEOMETRY}.part_neighbours:summaries",
        ),
        Quantity(
            "dimensions", "dimensions", "statistics of the spectrum, by their influence functions",
            f"{_GEOMETRY}.part_spectra:dimension_deviations",
        ),
        Quantity(
            "rankme", "RankMe", "RankMe, by its influence function", f"{_GEOMETRY}.part_spectra:rankme_deviations"
        ),
        Quantity(
            TWO_VIEWS, "two views", "LiDAR and InfoNCE, by their influence functions",
            f"{_GEOMETRY}.two_views:view_deviations", takes=("both-views",),
        ),
        Quantity(
            CLUSTERS, "clusters", "scores of clusters, in halves of every cluster",
            f"{_GEOMETRY}.cluster_scores:cluster_deviations", takes=("gram", "clusters"),
        ),
    ),
)  # fmt: skip
"""By family how far its statistics with an interval lie from what is expected, given also ``resamples`` and ``seed``:
(R,) by name."""

VIEWS = Catalogue(
    "view",
    (
        Quantity(
            "distances", "distances", "distances within and between classes",
            f"{_GEOMETRY}.views:distance_histograms", classes=1,
        ),
        Quantity(
            "plane", "principal plane", "images along the first principal components",
            f"{_GEOMETRY}.views:principal_plane",
        ),
        Quantity(
            "spectrum", "spectrum", "shares of variance of all components",
            f"{_GEOMETRY}.views:spectrum", takes=("variance-shares",),
        ),
    ),
)  # fmt: skip
"""What only a figure can show: arrays by name."""

CKA = "cka"
"""The measure of two layers that figures and rules look at."""
MEASURES = Catalogue(
    "measure",
    (
        Measure(
            CKA, "linear CKA", "linear centred kernel alignment: whether images are alike for both layers",
            f"{_GEOMETRY}.alignment:cka_matrix", f"{_GEOMETRY}.alignment:centred_kernel",
        ),
        Measure(
            "mutual-neighbours", "mutual nearest neighbours",
            "the share of the ten nearest neighbours of an image that both layers have in common",
            f"{_GEOMETRY}.neighbour_ranks:mutual_neighbours", f"{_GEOMETRY}.neighbour_ranks:neighbour_ranks",
            f"{_GEOMETRY}.neighbour_ranks:among",
        ),
        Measure(
            "information-imbalance", "information imbalance",
            "how little the distances in the row's layer say of those in the column's: 0 (all) to about 1 (nothing)",
            f"{_GEOMETRY}.neighbour_ranks:information_imbalance", f"{_GEOMETRY}.neighbour_ranks:neighbour_ranks",
            f"{_GEOMETRY}.neighbour_ranks:among",
            direction="low",
        ),
    ),
)  # fmt: skip
"""How two layers are compared, as `compare-layers --measure` names it."""

SCORES = DerivedCatalogue(
    "score", lambda: (entry for entry in STATISTICS.values() if entry.direction), plugin=_own_statistic
)
"""The statistics that layers can be chosen by, as ``--by`` names them."""


DEFAULT_SCORE, WITHOUT_LABELS = "quality", "effective-rank"
"""The scores by which layers are chosen where nothing else is said; the second one of images without labels."""


def _families() -> Iterator[Family]:
    for name in dict.fromkeys(entry.family for entry in STATISTICS.values()):
        if name not in (ALWAYS, UNMEASURED):
            labels = ", ".join(entry.label for entry in STATISTICS.values() if entry.family == name)
            yield Family(name, name, labels, f"{_GEOMETRY}.measure:measure")


def _own_family(name: str) -> Family:
    own = _own_statistic(name)
    return Family(own.name, own.label, own.help, own.target)


FAMILIES = DerivedCatalogue("statistics", _families, plugin=_own_family)
"""What ``--statistics`` adds to a table; a user's own statistic is a family of its own."""


def members(family: str) -> tuple[Statistic, ...]:
    """The statistics of a family, or the user's own that is called so.

    Raises:
        LayerprobeError: if there is no such family.
    """
    found = tuple(entry for entry in STATISTICS.values() if entry.family == family)
    if not found:
        FAMILIES.find(family)
        return (STATISTICS.find(family),)
    return found


def ingredients(statistic: Quantity) -> Iterator[Quantity]:
    """A statistic, and all statistics and quantities that it is computed from."""
    yield statistic
    for taken in statistic.takes:
        for catalogue in (STATISTICS, QUANTITIES):
            if taken in catalogue:
                yield from ingredients(catalogue[taken])


def needs_classes(entry: Quantity) -> bool:
    """Whether something can't be computed of images without labels, as it says itself or something it is made of.

    Examples:
        >>> needs_classes(STATISTICS["quality"]), needs_classes(STATISTICS["knn"]), needs_classes(STATISTICS["twonn"])
        (True, True, False)
    """
    return any(one.classes or "labels" in one.takes for one in ingredients(entry))


def needs_views(entry: Quantity) -> bool:
    """Whether something compares two views of the images.

    Examples:
        >>> needs_views(STATISTICS["lidar"]), needs_views(STATISTICS["rankme"])
        (True, False)
    """
    return any("both-views" in one.takes for one in ingredients(entry))


def needs_matrix(entry: Quantity) -> bool:
    """Whether a whole Gram matrix must lie in memory for it.

    Examples:
        >>> needs_matrix(STATISTICS["quality"]), needs_matrix(STATISTICS["knn"]), needs_matrix(STATISTICS["probe"])
        (False, False, True)
    """
    return needs_views(entry) or any("gram" in one.takes and not one.summaries for one in ingredients(entry))


def described(name: str) -> Statistic:
    """A statistic that a ranking holds, for a table or a figure: also a user's own, whose file may not be there."""
    if name in STATISTICS:
        return STATISTICS[name]
    entry = plugin_entry(name) if split_file_name(name) else Entry(name, name, name, "")
    return Statistic(
        entry.name, entry.label, entry.help, entry.target, symbol=entry.label, family=name, direction="high", digits=4
    )


def shown_in(figure: str) -> tuple[Statistic, ...]:
    """The statistics that a figure shows, in order."""
    return tuple(entry for entry in STATISTICS.values() if figure in entry.figures)


def resampled(family: str = ALWAYS) -> tuple[Statistic, ...]:
    """The statistics of a family that have an interval, in order."""
    return tuple(entry for entry in STATISTICS.values() if entry.interval and entry.family == family)
