"""What ``layerprobe rank`` is told."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from typing_extensions import Self

from layerprobe.geometry.catalogue import (
    CLUSTERS,
    DEFAULT_SCORE,
    FAMILIES,
    SCORES,
    TWO_VIEWS,
    WITHOUT_LABELS,
)
from layerprobe.report.figures.catalogue import ALL, FIGURES, Figure, chosen_figures
from layerprobe.settings.base import (
    AnyPath,
    Count,
    FromDigits,
    Listed,
    Number,
    OneOf,
    RefusedError,
    Seed,
    Separated,
    Whole,
)
from layerprobe.settings.display import PageFigureSettings
from layerprobe.settings.flags import Flag
from layerprobe.settings.layer_choice import NamedLayers
from layerprobe.settings.machine import DeviceSettings, Gigabytes


class RankSettings(PageFigureSettings, DeviceSettings):
    """What is measured, how many layers are chosen by it, and what is drawn."""

    panel: ClassVar[str] = "Layers"

    features: Annotated[tuple[AnyPath, ...], Listed, Field(min_length=1), Flag(argument=True, metavar="FILE...")]
    """Feature files that `layerprobe extract` wrote, one per network."""
    top: Annotated[Count, Flag(short="-k")] = 4
    """How many layers to choose."""
    by: Annotated[
        Annotated[str, OneOf(SCORES)] | None,
        Flag(default=f"{DEFAULT_SCORE}; {WITHOUT_LABELS} of images without labels"),
    ] = None
    """The score by which layers are chosen. FILE.py:name is a score of your own, a function of a layer's Gram
    matrix."""
    layers: Annotated[NamedLayers | None, Flag(default="all")] = None
    """The layers to rank, separated by commas: names, globs (layer3.*), indices, ranges (3-7, 3:8, -4:), every:4 or
    all."""
    resamples: Annotated[Whole, Field(ge=0, multiple_of=4), Flag(panel="Statistics")] = 200
    """How often the images are resampled for the intervals. With 0 there are no intervals."""
    level: Annotated[Number, Field(gt=0, lt=1), Flag(panel="Statistics")] = 0.9
    """The confidence level of the intervals."""
    seed: Annotated[Seed, Flag(panel="Statistics")] = 0
    """The seed of the resampling and of the clusters."""
    statistics: Annotated[
        tuple[Annotated[str, OneOf(FAMILIES, also=(ALL,))], ...], Separated, Flag(panel="Statistics")
    ] = ()
    """Further statistics to measure, separated by commas; those of two views need --second-view, also with all.
    FILE.py:name is a statistic of your own."""
    clusters: Annotated[
        Annotated[Whole, Field(ge=2)] | Literal["auto"] | None,
        FromDigits,
        Flag(panel="Statistics", metavar="INT|auto", default="auto where scores of clusters are asked for"),
    ] = None
    """Also measure S, I, E and Q of so many clusters of the images, which need no labels. The images are grouped by
    k-means. With auto the number is chosen that has the highest silhouette."""
    clusters_of: Annotated[str | None, Flag(panel="Statistics", metavar="LAYER", default="the last block")] = None
    """The layer by whose features the images are grouped into clusters."""
    second_view: Annotated[AnyPath | None, Flag(panel="Statistics", metavar="FILE")] = None
    """The features of another view of the same images (`layerprobe extract --view`): LiDAR and InfoNCE compare the two,
    and are measured too."""
    sizes: Annotated[
        tuple[Annotated[Whole, Field(ge=2)], ...], Separated, Flag(panel="Statistics", metavar="INT,INT,...")
    ] = ()
    """Also score smaller samples with so many images per class, such as 10,25,50, and draw the scores against the
    size."""
    memory: Gigabytes = None
    """The memory in GB that the Gram matrix of a layer, or the features that it is made of, may take. The matrix of
    more than 8,192 images is computed in strips and never lies in memory as a whole, unless a statistic needs it."""
    output: Annotated[AnyPath | None, Flag(short="-o", panel="Output", metavar="DIR", default="no figures")] = None
    """The folder for figures."""
    figures: Annotated[
        tuple[Annotated[str, OneOf(FIGURES, also=(ALL,))], ...] | None,
        Separated,
        Flag(panel="Figures", default="quality"),
    ] = None
    """The figures to draw, separated by commas."""
    ranking: Annotated[AnyPath | None, Flag(panel="Output", metavar="FILE", default="beside the features")] = None
    """The ranking file to write."""
    cache: Annotated[bool, Flag(panel="Output")] = True
    """Keep the results beside the feature file, so that the next call is quick."""
    overwrite: Annotated[bool, Flag(panel="Output", alone=True)] = False
    """Replace a ranking file and figures that show another choice of layers."""

    kept_so_far: ClassVar[str] = "layers that were measured are not measured again"

    @property
    def takes_less_memory(self) -> tuple[str, ...]:
        """What takes less memory than these settings, the most helpful first; fields stand in angle brackets."""
        return ("features of fewer images",) if self.device == "cpu" else ("<device> cpu", "features of fewer images")

    @model_validator(mode="after")
    def _figures_have_a_folder(self) -> Self:
        if self.output is None and self.figures:
            raise RefusedError("<figures> need a folder to be written to; give <output> DIR")
        if self.output is None and self.sizes:
            raise RefusedError("<sizes> are shown in a figure, which needs a folder; give <output> DIR")
        needing = [name for name in self.figures or () if name != ALL and FIGURES[name].sizes]
        if needing and not self.sizes:
            raise RefusedError(f"<figures> {needing[0]} needs <sizes>, such as 10,25,50; give them")
        return self

    @model_validator(mode="after")
    def _clusters_have_scores(self) -> Self:
        if self.clusters_of is not None and CLUSTERS not in (
            *self.families,
            SCORES.find(self.by or DEFAULT_SCORE).family,
        ):
            raise RefusedError(
                "<clusters_of> names the layer that clusters are found by, and no scores of clusters are asked for; "
                "give <clusters> auto"
            )
        return self

    @model_validator(mode="after")
    def _views_are_two(self) -> Self:
        asked = TWO_VIEWS in self.statistics or SCORES.find(self.by or DEFAULT_SCORE).family == TWO_VIEWS
        if asked and self.second_view is None:
            raise RefusedError(
                "LiDAR and InfoNCE compare two views of every image; give <second_view> FILE, features of the same "
                "images that `layerprobe extract --view` wrote"
            )
        if self.second_view is not None and len(self.features) > 1:
            raise RefusedError("<second_view> is of one network, and there are several; rank one at a time")
        return self

    @model_validator(mode="after")
    def _files_are_apart(self) -> Self:
        if self.ranking and self.ranking.suffix != ".json":
            raise RefusedError(
                f"<ranking> names a file that ends in .json, not {str(self.ranking)!r}; later commands "
                "know a ranking by that"
            )
        if self.ranking and len(self.features) > 1:
            raise RefusedError("<ranking> names one file, but there are several networks; leave it out")
        stems = [path.stem for path in self.features]
        if twice := [stem for stem in stems if stems.count(stem) > 1]:
            raise RefusedError(
                f"two files are called {twice[0]!r}: their figures would have the same names; rename one of them"
            )
        return self

    @property
    def drawn(self) -> tuple[Figure, ...]:
        """The figures of each network."""
        return chosen_figures(self.figures or ("quality",), bool(self.sizes)) if self.output else ()

    @property
    def cluster_count(self) -> int | None:
        """How many clusters there are to be; None: as many as have the highest silhouette."""
        return None if self.clusters == "auto" else self.clusters

    @property
    def families(self) -> tuple[str, ...]:
        """The statistics that are measured: those that are asked for, and what the figures show."""
        asked = [name for name in self.statistics if name != ALL]
        asked += [CLUSTERS] if self.clusters else []
        asked += [TWO_VIEWS] if self.second_view else []
        every = [name for name in FAMILIES if name != TWO_VIEWS] if ALL in self.statistics else []
        return tuple(dict.fromkeys([*every, *asked, *(name for figure in self.drawn for name in figure.statistics)]))

    @property
    def views(self) -> tuple[str, ...]:
        """The views that the figures show."""
        return tuple(dict.fromkeys(view for figure in self.drawn for view in figure.views))
