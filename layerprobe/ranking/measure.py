"""Every layer of a file measured, each from its Gram matrix; what was measured before is not computed again."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch

from layerprobe.catalogue import load_target
from layerprobe.errors import LayerprobeError
from layerprobe.features.extraction.memory import allowed_memory
from layerprobe.features.hdf5.gram_file import GramFile
from layerprobe.features.hdf5.reader import FeatureFile
from layerprobe.geometry.catalogue import (
    ALWAYS,
    CLUSTERS,
    DEVIATIONS,
    FAMILIES,
    STATISTICS,
    TWO_VIEWS,
    UNMEASURED,
    VIEWS,
    Quantity,
    Statistic,
    ingredients,
    members,
    needs_classes,
    needs_matrix,
    needs_views,
    resampled,
)
from layerprobe.geometry.measure import Quantities, Values, as_number, own_value
from layerprobe.geometry.resampling import score_deviations
from layerprobe.geometry.resampling import summaries as deviation_summaries
from layerprobe.geometry.sizes import scores_at_sizes
from layerprobe.geometry.strips import Summary
from layerprobe.plugins import file_sha256, split_file_name
from layerprobe.ranking.cache import StatisticsCache
from layerprobe.ranking.clusters import ClusterChoice, find_clusters
from layerprobe.ranking.grams import UndefinedLayerError, gram_of, in_strips, swept_gram
from layerprobe.ranking.second_view import gram_of_both
from layerprobe.records import AnyGram, Layer, LayerGeometry, Progress, StoredLayer, silent

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measurements:
    """What to measure beside the scores.

    Attributes:
        statistics: further ones: names in ``layerprobe.geometry.catalogue.FAMILIES``, and the user's own.
        views: what figures draw, names in ``VIEWS`` there.
        resamples: how many times the sample is drawn again for the intervals, a multiple of four; 0: no intervals.
        sizes: images per class of smaller samples whose scores are measured too.
        seed: of all draws.
        labelled: whether the images have labels: what needs classes is not measured else.
        matrix: whether there is room for a whole Gram matrix: what needs one is not measured else.
        clusters: which clusters of the images stand for classes in the scores of clusters.
        second_view: fingerprint of the features of another view of the images; empty: there is none.

    Raises:
        LayerprobeError: if one of them is unknown or malformed.
    """

    statistics: tuple[str, ...] = ()
    views: tuple[str, ...] = ()
    resamples: int = 200
    sizes: tuple[int, ...] = ()
    seed: int = 0
    labelled: bool = True
    matrix: bool = True
    clusters: ClusterChoice = field(default_factory=ClusterChoice)
    second_view: str = ""

    def __post_init__(self) -> None:
        for name in self.statistics:
            FAMILIES.find(name)
        if self.resamples % 4 or self.resamples < 0:
            raise LayerprobeError(f"--resamples is a multiple of four, or 0 for no intervals; not {self.resamples}")
        if any(size < 2 for size in self.sizes):
            raise LayerprobeError(f"--sizes are images per class, at least 2; not {min(self.sizes)}")

    @property
    def plugins(self) -> Mapping[str, str]:
        """SHA-256 of the file of each of the user's own statistics, by its name."""
        return {name: file_sha256(name) for name in self.statistics if split_file_name(name)}

    def tasks(self) -> Mapping[str, Computation]:
        """What is computed of a layer, by a name that holds all it depends on."""
        found = {ALWAYS: self._family(ALWAYS)}
        own = self.plugins
        for name in self.statistics:
            task = f"{name} {own[name]}" if name in own else self._task(name)
            found[task] = _own(name) if name in own else self._family(name)
        for name in self.views:
            if self.allows(VIEWS[name]):
                found[f"view {name}"] = Computation(partial(_view, name))
        if self.resamples:
            draws = f"{self.resamples} resamples, seed {self.seed}"
            if self.labelled:
                deviations = partial(score_deviations, resamples=self.resamples, seed=self.seed)
                gathers = partial(deviation_summaries, resamples=self.resamples, seed=self.seed)
                found[draws] = _resampled("deviations", deviations, gathers)
            families = (name for name in self.statistics if name in DEVIATIONS and self.allows(DEVIATIONS[name]))
            found |= {f"{self._task(name)}, {draws}": _deviations(name, self.resamples, self.seed) for name in families}
        if self.sizes:
            at_sizes = partial(scores_at_sizes, sizes=self.sizes, seed=self.seed)
            found[_sizes_task(self.sizes, self.seed)] = _resampled("at sizes", at_sizes)
        return found

    def _task(self, family: str) -> str:
        """A family with what its values depend on beside the features of a layer."""
        told = {CLUSTERS: f" {self.clusters}", TWO_VIEWS: f" {self.second_view}"}
        return family + told.get(family, "")

    def allows(self, entry: Quantity) -> bool:
        """Whether something can be computed of these images."""
        return (self.labelled or not needs_classes(entry)) and (self.matrix or not needs_matrix(entry))

    def _family(self, name: str) -> Computation:
        """The statistics of a family that these images allow."""
        statistics = tuple(one for one in members(name) if self.allows(one))
        names = frozenset(one.name for one in statistics)
        of_both_views = any(map(needs_views, statistics))
        return Computation(partial(_numbers, statistics), names, _summaries(statistics), of_both_views)


def _sizes_task(sizes: tuple[int, ...], seed: int) -> str:
    return f"sizes {','.join(map(str, sizes))}, seed {seed}"


def sizes_of(task: str) -> tuple[int, ...]:
    """The images per class of the smaller samples that a task scores; none where it does something else.

    Examples:
        >>> sizes_of("sizes 10,25, seed 0"), sizes_of("view plane")
        ((10, 25), ())
    """
    found = re.fullmatch(r"sizes (\d+(?:,\d+)*), seed \d+", task)
    return tuple(map(int, found[1].split(","))) if found else ()


class Computation(NamedTuple):
    """What is computed together.

    Attributes:
        compute: does it.
        names: of what it gives at least.
        summaries: of a Gram matrix, which it gathers; None: the matrix must lie in memory.
        of_both_views: whether it compares two views of the images.
    """

    compute: Callable[[Quantities], Values]
    names: frozenset[str] = frozenset()
    summaries: Callable[[AnyGram], Sequence[Summary]] | None = None
    of_both_views: bool = False

    def is_done(self, values: Values | None) -> bool:
        """Whether these are all its values; an earlier version may have known fewer statistics."""
        return values is not None and self.names <= values.keys()


def _numbers(statistics: Sequence[Statistic], quantities: Quantities) -> Values:
    return quantities.numbers(statistics)


def _summaries(entries: Sequence[Quantity]) -> Callable[[AnyGram], Sequence[Summary]] | None:
    """What statistics gather together; None: one of them needs the matrix."""
    if any(map(needs_matrix, entries)):
        return None
    gathering = {one.summaries for entry in entries for one in ingredients(entry) if one.summaries}
    functions = [load_target(target) for target in sorted(gathering)]
    return lambda gram: [summary for function in functions for summary in function(gram)]


def _own(name: str) -> Computation:
    """A user's own statistic; its file is run once."""
    function = STATISTICS.find(name).load()
    return Computation(
        lambda quantities: {name: as_number(own_value(name, function, quantities["gram"]))}, frozenset([name])
    )


def _view(name: str, quantities: Quantities) -> Values:
    arrays: Values = quantities[name]
    return arrays


def _resampled(
    prefix: str,
    compute: Callable[[Any], Values],
    summaries: Callable[[AnyGram], Sequence[Summary]] | None = None,
) -> Computation:
    """Of every statistic that has an interval an array, named for what it holds."""
    return Computation(
        lambda quantities: {f"{prefix} {name}": values for name, values in compute(quantities["gram"]).items()},
        frozenset(f"{prefix} {one.name}" for one in resampled()),
        summaries,
    )


def _deviations(family: str, resamples: int, seed: int) -> Computation:
    """How far the statistics of a family scatter."""
    entry = DEVIATIONS[family]

    def compute(quantities: Quantities) -> Values:
        found = entry.load()(*(quantities[taken] for taken in entry.takes), resamples=resamples, seed=seed)
        return {f"deviations {name}": values for name, values in found.items()}

    names = frozenset(f"deviations {one.name}" for one in resampled(family))
    gathers = partial(load_target(entry.summaries), resamples=resamples, seed=seed) if entry.summaries else None
    return Computation(compute, names, gathers, needs_views(entry))


def measure_layers(
    source: FeatureFile | GramFile,
    measurements: Measurements,
    cache: StatisticsCache | None = None,
    device: torch.device | None = None,
    progress: Progress = silent,
    layers: Sequence[StoredLayer] | None = None,
    second: FeatureFile | None = None,
    memory: float | None = None,
) -> tuple[LayerGeometry, ...]:
    """Measure layers of a file.

    A layer whose features are not finite is undefined: its statistics are NaN, and a warning names it.

    Args:
        source: the features, or their Gram matrices.
        measurements: what to measure.
        cache: results of earlier runs; new ones are put there, and saved, also when this run is interrupted.
        device: where the Gram matrices are computed; default: the CPU.
        progress: told before every layer.
        layers: those of the file that are measured; None: all.
        second: features of another view of the images, whose fingerprint ``measurements`` has.
        memory: bytes that a Gram matrix, or the features that it is made of, may take; None: half of what is available.

    Raises:
        LayerprobeError: if a size exceeds that of a class, or a user's own statistic fails.
    """
    if source.labels is not None:
        _check_classes(source.labels, measurements.sizes)
    if source.spectra:
        _check_spectra(source.spectra.labels, measurements.sizes)
    tasks = measurements.tasks()
    memory = memory or allowed_memory()
    measured = source.layers if layers is None else layers
    found = []
    with cache or StatisticsCache(None) as kept:
        clusters = _clusters(source, measurements, kept, device)
        for done, stored in enumerate(measured):
            progress("layers measured", done, len(measured))
            place = _place(source, stored)
            try:
                values = _measured((source, second), stored, tasks, kept, clusters, device, memory)
                found.append(_geometry(stored.layer, place | values))
            except UndefinedLayerError as error:
                _log.warning("%s, and is ranked as undefined", error)
                found.append(_undefined(stored, place, tasks, error.reason))
        progress("layers measured", len(measured), len(measured))
    return tuple(found)


def _measured(
    sources: tuple[FeatureFile | GramFile, FeatureFile | None],
    stored: StoredLayer,
    tasks: Mapping[str, Computation],
    kept: StatisticsCache,
    clusters: torch.Tensor | None,
    device: torch.device | None,
    memory: float,
) -> Values:
    """What all tasks give of a layer; what is not kept from earlier is computed."""
    name = stored.layer.name
    missing = [task for task, computation in tasks.items() if not computation.is_done(kept.get(name, task))]
    if missing:
        source, second = sources
        compared = second is not None and any(tasks[task].of_both_views for task in missing)
        both = gram_of_both(source, second, stored, device) if second and compared else None
        gram = _gram(source, stored, [tasks[task] for task in missing], device, memory)
        quantities = Quantities.of_gram(gram, clusters, both)
        for task in missing:
            kept.put(name, task, tasks[task].compute(quantities))
    return {key: value for task in tasks for key, value in (kept.get(name, task) or {}).items()}


def _gram(
    source: FeatureFile | GramFile,
    stored: StoredLayer,
    computations: Sequence[Computation],
    device: torch.device | None,
    memory: float,
) -> AnyGram:
    """The Gram matrix of a layer for computations: as a whole if one of them needs that, or the sample is small."""
    functions = [one.summaries for one in computations if one.summaries is not None]
    if isinstance(source, GramFile) or len(functions) < len(computations) or not in_strips(source, memory):
        return gram_of(source, stored, device)
    return swept_gram(
        source, stored, lambda gram: [one for function in functions for one in function(gram)], memory, device
    )


def _clusters(
    source: FeatureFile | GramFile, wanted: Measurements, kept: StatisticsCache, device: torch.device | None
) -> torch.Tensor | None:
    """The clusters of the images, where their scores are asked for."""
    if CLUSTERS not in wanted.statistics:
        return None
    return find_clusters(source, wanted.clusters, kept, device).labels


def _place(source: FeatureFile | GramFile, stored: StoredLayer) -> Values:
    """What is known of a layer by its place in the file."""
    place = {"place": source.layers.index(stored), "layers": len(source.layers)}
    return Quantities(place).numbers(members(UNMEASURED))


def _geometry(layer: Layer, values: Values) -> LayerGeometry:
    """A layer with what is known of it."""
    numbers = {name: float(value) for name, value in values.items() if value.ndim == 0}
    return LayerGeometry(layer, numbers, arrays={name: value for name, value in values.items() if value.ndim})


def _undefined(stored: StoredLayer, place: Values, tasks: Mapping[str, Computation], reason: str) -> LayerGeometry:
    """A layer without a Gram matrix: every number that the tasks would give is NaN, and there are no arrays."""
    names = {name for task in tasks.values() for name in task.names if name in STATISTICS or split_file_name(name)}
    known = {name: float(value) for name, value in place.items()} | {"dimension": float(stored.dimension)}
    return LayerGeometry(stored.layer, {**dict.fromkeys(sorted(names), math.nan), **known}, undefined=reason)


def _check_classes(labels: torch.Tensor, sizes: tuple[int, ...]) -> None:
    """Refuse samples larger than a class, and say what classes too small leave undefined."""
    counts = torch.unique(labels, return_counts=True)[1]
    if sizes and max(sizes) > (least := int(counts.min())):
        raise LayerprobeError(f"--sizes: {max(sizes)} images per class, but a class has {least}; leave it out")
    if len(counts) == 1:
        _log.warning("there is only one class: S, E, Q and everything else that compares classes are undefined")
    if (alone := int((counts == 1).sum())) > 0:
        _log.warning("%d of %d classes have only one image: S, I and Q are undefined", alone, len(counts))


def _check_spectra(labels: torch.Tensor, sizes: tuple[int, ...]) -> None:
    """Say what a second sample leaves undefined, and where it isn't used."""
    counts = torch.unique(labels, return_counts=True)[1]
    if (alone := int((counts == 1).sum())) > 0:
        _log.warning(
            "%d of %d classes have only one image in the sample of spectra: I and Q are undefined", alone, len(counts)
        )
    if sizes:
        _log.warning("--sizes: smaller samples have the spectra of their own images, not those of the second sample")
