"""Rankings and similarities of layers as tables."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from layerprobe.geometry.catalogue import (
    ALWAYS,
    CKA,
    CLUSTERS,
    MEASURES,
    STATISTICS,
    TWO_VIEWS,
    UNMEASURED,
    Statistic,
    described,
    members,
)
from layerprobe.records import Comparison, Layer, LayerGeometry, Ranking, Similarity
from layerprobe.records.cautions import cautions
from layerprobe.records.clusters import cluster_source
from layerprobe.report.tables.layers import (
    LAYER_COLUMNS,
    describe_images,
    describe_spectra,
    describe_view,
    images_per_class,
    layer_row,
)
from layerprobe.report.tables.table import Column, Table

_BEST: Mapping[str, Literal["", "max", "min"]] = {"high": "max", "low": "min", "": ""}
"""The best value of a column, by the direction of its statistic."""
PLACE_COLUMNS = (
    *(column if column.key else replace(column, latex=False) for column in LAYER_COLUMNS),
    Column("dimension", "D", thousands=True, latex=False),
)
"""Which layer a row is of. A paper needs no more than its name."""


def ranking_table(ranking: Ranking) -> Table:
    """The scores of every layer, the chosen ones marked, with the interval of the score that they were chosen by."""
    chosen = (number for number, geometry in enumerate(ranking.geometries) if geometry.layer.name in ranking.selected)
    shared = any(geometry.top_share is not None for geometry in ranking.geometries)
    by, top = ranking.score, len(ranking.selected)
    known = _known(ranking)
    statistics = [one for one in known if one.shown or one.name == by]
    scores = [one for one in statistics if one.family in (ALWAYS, UNMEASURED)]
    further = [one for one in statistics if one not in scores]
    share = Column("top_share", f"in top {top} (%)", digits=0)
    return Table(
        title=f"{ranking.provenance.get('model', 'layers')}: layers by {by}",
        columns=(
            *PLACE_COLUMNS,
            *(_column(one, ranking) for one in scores),
            *((*_ends(by), share) if shared else ()),
            *(_column(one, ranking) for one in further),
        ),
        rows=tuple(_ranked(geometry) for geometry in ranking.geometries),
        marked=frozenset(chosen),
        notes=(
            describe_sample(ranking),
            f"chosen by {by}: {', '.join(ranking.selected)}",
            *describe_end(ranking),
            *(_describe_uncertainty(ranking) if shared else ()),
            *cautions(ranking),
        ),
        further=(
            *(() if shared else (share,)),
            *(_column(one, ranking) for one in known if one not in statistics and one.name != "dimension"),
            *(end for one in known if one.interval and one.name != by for end in _ends(one.name)),
        ),
    )


def possible_columns(top: int, own: Sequence[str]) -> tuple[Column, ...]:
    """The columns that the table of a ranking may have, whatever is measured.

    Args:
        top: how many layers are chosen.
        own: names of the user's own statistics, ``FILE.py:name``.
    """
    statistics = [Column(one.name, one.symbol) for one in (*STATISTICS.values(), *map(described, own))]
    return (*PLACE_COLUMNS, Column("top_share", f"in top {top} (%)"), *statistics)


def _ends(score: str) -> tuple[Column, Column]:
    """The ends of a score's interval, which terminals show in columns of their own."""
    return (
        Column(f"{score}_low", "from", digits=3, paper=False),
        Column(f"{score}_high", "to", digits=3, paper=False),
    )


def _known(ranking: Ranking) -> list[Statistic]:
    """The statistics of a ranking that all layers have, in order; the user's own come last."""
    names = dict.fromkeys(name for geometry in ranking.geometries for name in geometry.statistics)
    known = [name for name in STATISTICS if name in names]
    own = [name for name in names if name not in STATISTICS]
    return [
        one
        for one in map(described, (*known, *own))
        if all(one.name in geometry.statistics for geometry in ranking.geometries)
    ]


def _column(statistic: Statistic, ranking: Ranking) -> Column:
    resampled = any(statistic.name in geometry.intervals for geometry in ranking.geometries)
    return Column(
        statistic.name,
        statistic.symbol,
        digits=statistic.digits,
        best=_BEST[statistic.direction],
        interval=resampled,
    )


def _ranked(geometry: LayerGeometry) -> dict[str, object]:
    intervals = {f"{name}_low": one.low for name, one in geometry.intervals.items()}
    intervals |= {f"{name}_high": one.high for name, one in geometry.intervals.items()}
    return {
        **layer_row(geometry.layer),
        **geometry.statistics,
        "dimension": _whole(geometry.statistics.get("dimension")),
        **intervals,
        **({} if geometry.top_share is None else {"top_share": 100 * geometry.top_share}),
    }


def _whole(number: float | None) -> int | None:
    """A number without fraction, where a file has one."""
    return int(number) if number is not None and math.isfinite(number) else None


def similarity_columns(second: Iterable[Layer], measure: str = CKA) -> tuple[Column, ...]:
    """The columns of a table that compares layers: the row's layer, and the layers of the second network."""
    best, prefix = _BEST[MEASURES[measure].direction], measure.replace("-", "_")
    layers = (Column(f"{prefix}_{layer.index}", layer.name, digits=3, best=best) for layer in second)
    return (Column("layer", "layer", "left", key=True), *layers)


def similarity_table(similarity: Similarity, debiased: bool) -> Table:
    """Linear CKA of every pair of layers: a row per layer of the first network, a column per layer of the second."""
    values = similarity.debiased if debiased else similarity.cka
    first, *columns = similarity_columns(similarity.second)
    source = dict(similarity.provenance)
    return Table(
        title=f"linear CKA{', debiased' if debiased else ''}: {similarity.names[0]} (rows), {similarity.names[1]}",
        columns=(first, *columns),
        rows=tuple(
            {"layer": layer.name, **dict(zip((column.name for column in columns), row, strict=True))}
            for layer, row in zip(similarity.first, values.tolist(), strict=True)
        ),
        notes=(describe_images(source),),
        details=similarity.to_dict(),
    )


def comparison_table(comparison: Comparison) -> Table:
    """Neighbourhoods of every pair of layers compared: a row per layer of the first network, a column per layer of
    the second."""
    found, measure = comparison.range, MEASURES[comparison.measure]
    first, *columns = similarity_columns(comparison.second, comparison.measure)
    parts = {"": comparison.values, **({"_low": found.low, "_high": found.high} if found else {})}
    return Table(
        title=f"{measure.label}: {comparison.names[0]} (rows), {comparison.names[1]}",
        columns=(first, *(replace(column, interval=found is not None) for column in columns)),
        rows=tuple(
            {"layer": layer.name}
            | {
                f"{column.name}{end}": value
                for end, matrix in parts.items()
                for column, value in zip(columns, matrix[row].tolist(), strict=True)
            }
            for row, layer in enumerate(comparison.first)
        ),
        notes=(measure.help, describe_images(dict(comparison.provenance)), *describe_range(comparison)),
        further=tuple(end for column in columns for end in _ends(column.name)) if found else (),
        details=comparison.to_dict(),
    )


def describe_range(comparison: Comparison) -> tuple[str, ...]:
    """How sure the values of a comparison are; empty: they have no intervals."""
    if (found := comparison.range) is None:
        return ()
    widest = float((found.high - found.low).nan_to_num(0).max())
    said = f"{100 * found.level:g} % intervals from {found.resamples} resamples, the widest of {widest:.3f}"
    return (f"{said}: CSV, JSON and LaTeX have them",)


def describe_end(ranking: Ranking) -> tuple[str, ...]:
    """What the last block has kept; a network without blocks, or a file without them, has activations for them."""
    if math.isnan(kept := ranking.information_kept):
        return ()
    last = ranking.blocks[-1].layer
    return (f"of the ranked {last.kind}s the last, {last.name}, has {kept:.3f} of the highest information",)


def _describe_uncertainty(ranking: Ranking) -> tuple[str, ...]:
    level, resamples = ranking.provenance["level"], ranking.provenance["resamples"]
    method = f"from, to: {100 * level:g} % interval of {ranking.score} from {resamples} resamples"
    return (method, *describe_undecided(ranking))


def describe_undecided(ranking: Ranking) -> tuple[str, ...]:
    """Which layers can't be told apart from the chosen ones; empty: none is known."""
    if not ranking.undecided:
        return ()
    sign = described(ranking.score).sign
    lowest = min(ranking.chosen, key=lambda geometry: sign * geometry.statistics[ranking.score])
    return (f"can't be told apart from {lowest.layer.name} at that level: {', '.join(ranking.undecided)}",)


def network_name(ranking: Ranking) -> str:
    """The network that was ranked, as the user named it."""
    return str(ranking.provenance.get("model", "the network"))


def describe_sample(ranking: Ranking) -> str:
    """Which images the scores come from: scores of samples of different size can't be compared."""
    clusters = cluster_source(ranking.provenance)
    of_clusters = f"{', '.join(one.symbol for one in members(CLUSTERS))}: {clusters}" if clusters else ""
    source = ranking.provenance
    parts = describe_images(source), describe_spectra(source), of_clusters, describe_views(source)
    return "; ".join(filter(None, parts))


def describe_views(source: Mapping[str, Any]) -> str:
    """Which views of the images were compared, where some were, or which one was measured."""
    if not (second := source.get("second_view")):
        return describe_view(source["view"]) if source.get("view") else ""
    symbols = ", ".join(one.symbol for one in members(TWO_VIEWS))
    return f"{symbols}: {describe_view(source.get('view'))}, with {describe_view(second.get('view'))}"


def different_samples(rankings: Sequence[Ranking]) -> str | None:
    """What to say where several rankings don't come from samples of one size."""
    sizes = {_sample_sizes(ranking.provenance) for ranking in rankings}
    if len(sizes) == 1:
        return None
    return (
        f"the samples have {' and '.join(sorted(sizes))} images per class: I and Q grow with that number and can't be "
        "compared between these networks; quality-normalised depends on it less"
    )


def _sample_sizes(source: Mapping[str, Any]) -> str:
    """Images per class, and those that the spectra come from where they are others."""
    first, second = (images_per_class(source.get(key)) for key in ("sample", "spectrum_sample"))
    return f"{first or None}, {second} for spectra," if second else str(first or None)
