"""Records into tables."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from layerprobe.report.tables import Column, Table
from layerprobe.types import Evaluation, Layer, LayerGeometry, Preprocessing, Ranking, Run, Similarity, StoredLayer

_LAYER_COLUMNS = (
    Column("index", "#"),
    Column("name", "layer", "left"),
    Column("kind", "kind", "left"),
    Column("shape", "shape", "left"),
)
_FURTHER = (
    Column("twonn", "TwoNN", digits=1),
    Column("mle", "MLE", digits=1),
    Column("pca_90", "PCA-90", digits=0),
    Column("pca_95", "PCA-95", digits=0),
    Column("effective_rank", "eff. rank", digits=1),
    Column("participation_ratio", "PR", digits=1),
    Column("nc1", "NC1", digits=3, best="min"),
    Column("knn_accuracy", "10-NN", digits=3, best="max"),
    Column("probe_accuracy", "probe", digits=3, best="max"),
    Column("logme", "LogME", digits=4, best="max"),
)
"""Statistics that a ranking may hold beside the scores."""
HONESTY = "the last epoch is the headline; the best epoch on test is chosen by the test images, and optimistic"


def layers_table(layers: Sequence[StoredLayer], model: str, dtype: str, images: int) -> Table:
    """The layers of a model, and the bytes that a feature file of them takes.

    Args:
        layers: the layers as they would be stored.
        model: its name.
        dtype: ``float16`` or ``float32``, the type they would be stored in.
        images: how many images the file is reckoned for.
    """
    size = images * sum(_bytes_per_image(stored, dtype) for stored in layers)
    return Table(
        title=f"{model}: {len(layers)} layers",
        columns=(*_stored_columns(layers), Column("parameters", "parameters so far", thousands=True)),
        rows=tuple({**_stored(stored, dtype, images), "parameters": stored.layer.parameters} for stored in layers),
        notes=(f"{images:,} images in {dtype} take {size / 1e6:,.1f} MB",),
        details={"images": images, "dtype": dtype, "bytes": size},
    )


def file_table(
    path: Path,
    layers: Sequence[StoredLayer],
    provenance: Mapping[str, Any],
    done: int,
    complete: bool,
    damaged: Mapping[str, int] | None,
) -> Table:
    """What is in a feature file.

    Args:
        path: the file.
        layers: its layers.
        provenance: where its features came from.
        done: how many rows it has.
        complete: whether it is marked complete.
        damaged: of every layer that has rows that are not what was written, how many; None: not checked.
    """
    rows, dtype = int(provenance["rows"]), str(provenance["dtype"])
    state = "complete" if complete else f"unfinished: {done} of {rows} rows"
    columns = (*_stored_columns(layers), *((Column("damaged", "damaged rows"),) if damaged else ()))
    checked = [] if damaged is None else [_verdict(damaged)]
    return Table(
        title=f"{path}: {len(layers)} layers of {rows} images in {dtype}, {state}",
        columns=columns,
        rows=tuple(
            {**_stored(stored, dtype, rows), **({"damaged": damaged.get(stored.layer.name, 0)} if damaged else {})}
            for stored in layers
        ),
        marked=frozenset(i for i, stored in enumerate(layers) if damaged and stored.layer.name in damaged),
        notes=(*_describe_source(provenance), *checked),
        details={**provenance, "rows_done": done, "complete": complete, "damaged": damaged},
    )


def gram_table(path: Path, layers: Sequence[StoredLayer], provenance: Mapping[str, Any]) -> Table:
    """What is in a file of Gram matrices."""
    return Table(
        title=f"{path}: Gram matrices of {len(layers)} layers of {provenance['rows']} images",
        columns=tuple(column for column in _stored_columns(layers) if column.name != "megabytes"),
        rows=tuple(_stored(stored, str(provenance["dtype"]), int(provenance["rows"])) for stored in layers),
        notes=_describe_source(provenance),
        details=provenance,
    )


def _verdict(damaged: Mapping[str, int]) -> str:
    if damaged:
        return f"checksums: DAMAGED, {len(damaged)} layers have rows that are not what was written"
    return "checksums: every row is what was written"


def _describe_source(source: Mapping[str, Any]) -> tuple[str, ...]:
    preprocessing = Preprocessing.from_dict(source["preprocessing"]).describe()
    versions = f"layerprobe {source['layerprobe_version']}, torch {source['torch_version']}"
    return (
        f"model: {source['model']}, weights: {source['weights']} (SHA-256 {source['weights_sha256'][:12]}...)",
        f"images: {_describe_images(source)}: {source['sample']['how']}",
        f"preprocessing: {preprocessing}",
        f"computed in {source['precision']} on {source['device']}, {source['created']}, {versions}",
    )


def _stored_columns(layers: Sequence[StoredLayer]) -> tuple[Column, ...]:
    reduced = any(stored.reduction for stored in layers)
    return (
        *_LAYER_COLUMNS,
        *((Column("reduction", "reduction", "left"), Column("stored", "stored", "left")) if reduced else ()),
        Column("dimension", "D", thousands=True),
        Column("megabytes", "MB", digits=1),
    )


def _stored(stored: StoredLayer, dtype: str, images: int) -> dict[str, object]:
    return {
        **_layer(stored.layer),
        "reduction": stored.reduction,
        "stored": _shape(stored.shape),
        "dimension": stored.dimension,
        "megabytes": images * _bytes_per_image(stored, dtype) / 1e6,
    }


def _bytes_per_image(stored: StoredLayer, dtype: str) -> int:
    return stored.dimension * {"float16": 2, "float32": 4}[dtype]


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _layer(layer: Layer) -> dict[str, object]:
    return {
        "index": layer.index,
        "name": layer.name,
        "kind": layer.kind,
        "shape": _shape(layer.shape),
    }


SCORE_TITLES = {
    "separation": "S",
    "information": "I",
    "efficiency": "E",
    "quality": "Q",
    "information_normalised": "I_n",
    "quality_normalised": "Q_n",
    "sqrt_ie": "sqrt(IE)",
    "depth": "depth",
}


def ranking_table(ranking: Ranking) -> Table:
    """The scores of every layer, the chosen ones marked, with the interval of the score that they were chosen by."""
    chosen = (number for number, geometry in enumerate(ranking.geometries) if geometry.layer.name in ranking.selected)
    resampled = any(geometry.intervals for geometry in ranking.geometries)
    shared = any(geometry.top_share is not None for geometry in ranking.geometries)
    by, top = ranking.score, len(ranking.selected)
    further = [column for column in _FURTHER if all(column.name in g.statistics for g in ranking.geometries)]
    shown = [name for name in SCORE_TITLES if name in ("separation", "information", "efficiency", "quality", by)]
    uncertainty = (
        Column(f"{by}_low", "from", digits=3, paper=False),
        Column(f"{by}_high", "to", digits=3, paper=False),
        Column("top_share", f"in top {top} (%)", digits=0),
    )
    return Table(
        title=f"{ranking.provenance.get('model', 'layers')}: layers by {by.replace('_', ' ')}",
        columns=(
            *_LAYER_COLUMNS,
            Column("dimension", "D", thousands=True),
            *(
                Column(name, SCORE_TITLES[name], digits=3, best="max", interval=resampled and name != "depth")
                for name in shown
            ),
            *(uncertainty if shared else ()),
            *further,
        ),
        rows=tuple(_ranked(geometry) for geometry in ranking.geometries),
        marked=frozenset(chosen),
        notes=(
            describe_sample(ranking),
            f"chosen by {by.replace('_', ' ')}: {', '.join(ranking.selected)}",
            *(_describe_uncertainty(ranking) if shared else ()),
        ),
    )


def _ranked(geometry: LayerGeometry) -> dict[str, object]:
    intervals = {f"{name}_low": one.low for name, one in geometry.intervals.items()}
    intervals |= {f"{name}_high": one.high for name, one in geometry.intervals.items()}
    return {
        **_layer(geometry.layer),
        **geometry.statistics,
        "dimension": int(geometry.statistics["dimension"]),
        **intervals,
        **({} if geometry.top_share is None else {"top_share": 100 * geometry.top_share}),
    }


def similarity_table(similarity: Similarity, debiased: bool) -> Table:
    """Linear CKA of every pair of layers: a row per layer of the first network, a column per layer of the second."""
    values = similarity.debiased if debiased else similarity.cka
    columns = tuple(Column(f"cka_{layer.index}", layer.name, digits=3, best="max") for layer in similarity.second)
    source = dict(similarity.provenance)
    return Table(
        title=f"linear CKA{', debiased' if debiased else ''}: {similarity.names[0]} (rows), {similarity.names[1]}",
        columns=(Column("layer", "layer", "left"), *columns),
        rows=tuple(
            {"layer": layer.name, **dict(zip((column.name for column in columns), row, strict=True))}
            for layer, row in zip(similarity.first, values.tolist(), strict=True)
        ),
        notes=(_describe_images(source),),
        details=similarity.to_dict(),
    )


def _describe_uncertainty(ranking: Ranking) -> tuple[str, ...]:
    level, resamples = ranking.provenance["level"], ranking.provenance["resamples"]
    method = f"from, to: {100 * level:g} % interval of {ranking.score.replace('_', ' ')} from {resamples} resamples"
    if not ranking.undecided:
        return (method,)
    lowest = min(
        (geometry for geometry in ranking.geometries if geometry.layer.name in ranking.selected),
        key=lambda geometry: geometry.statistics[ranking.score],
    )
    return (method, f"can't be told apart from {lowest.layer.name} at that level: {', '.join(ranking.undecided)}")


def describe_sample(ranking: Ranking) -> str:
    """Which images the scores come from: scores of samples of different size can't be compared."""
    return _describe_images(ranking.provenance)


def different_samples(rankings: Sequence[Ranking]) -> str | None:
    """What to say where several rankings don't come from samples of one size."""
    sizes = {str(ranking.provenance.get("sample", {}).get("per_class")) for ranking in rankings}
    if len(sizes) == 1:
        return None
    return (
        f"the samples have {' and '.join(sorted(sizes))} images per class: I and Q grow with that number and can't be "
        "compared between these networks; quality-normalised depends on it less"
    )


def _describe_images(source: Mapping[str, Any]) -> str:
    per_class = source.get("sample", {}).get("per_class")
    size = f"{source.get('rows', '?')} images" + (f" ({per_class} per class)" if per_class else "")
    dataset = Path(str(source.get("dataset", "?"))).name
    return f"{size} of {source.get('population', '?')} in {dataset}/{source.get('split', '?')}"


def run_table(run: Run) -> Table:
    """The accuracies of one run."""
    rows = [] if run.teacher_accuracy is None else [{"what": "teacher", "accuracy": run.teacher_accuracy}]
    rows.append({"what": f"{run.method}, last epoch", "accuracy": run.last_accuracy})
    if run.chosen_accuracy is not None:
        rows.append({"what": f"{run.method}, epoch chosen on held-out images", "accuracy": run.chosen_accuracy})
    rows.append({"what": f"{run.method}, best epoch on test", "accuracy": run.best_on_test_accuracy})
    return Table(
        title=f"{run.folder}: top-1 on the test images",
        columns=(Column("what", "", "left"), Column("accuracy", "top-1 (%)", digits=2)),
        rows=tuple(rows),
        notes=(HONESTY,),
    )


def runs_table(runs: Sequence[Run]) -> Table:
    """Methods compared: mean and sample standard deviation of top-1 over seeds. No run is dropped."""
    methods = list(dict.fromkeys(run.method for run in runs))
    rows = tuple(_method_row(method, [run for run in runs if run.method == method]) for method in methods)
    means = [row["mean"] for row in rows]
    with_holdout = any(row["chosen"] is not None for row in rows)
    teacher = next((run.teacher_accuracy for run in runs if run.teacher_accuracy is not None), None)
    notes = () if teacher is None else (f"teacher: {teacher:.2f} %",)
    return Table(
        title="Top-1 on the test images (%)",
        columns=(
            Column("method", "method", "left"),
            Column("seeds", "seeds"),
            Column("mean", "last epoch, mean", digits=2, best="max"),
            Column("deviation", "std", digits=2),
            *((Column("chosen", "epoch chosen on held-out", digits=2),) if with_holdout else ()),
            Column("best", "best epoch on test", digits=2),
            Column("seconds", "seconds", digits=1),
        ),
        rows=rows,
        marked=frozenset([means.index(max(means))]),
        notes=(*notes, HONESTY),
    )


def _method_row(method: str, runs: Sequence[Run]) -> dict[str, Any]:
    last = [run.last_accuracy for run in runs]
    chosen = [run.chosen_accuracy for run in runs if run.chosen_accuracy is not None]
    return {
        "method": method,
        "seeds": len(runs),
        "mean": statistics.mean(last),
        "deviation": statistics.stdev(last) if len(last) > 1 else None,
        "chosen": statistics.mean(chosen) if len(chosen) == len(runs) else None,
        "best": statistics.mean(run.best_on_test_accuracy for run in runs),
        "seconds": statistics.mean(sum(epoch.seconds for epoch in run.epochs) for run in runs),
    }


def evaluation_table(evaluation: Evaluation) -> Table:
    """Top-1 of every class, and of all of them; top-5 and the confusion matrix among the details."""
    counts = evaluation.confusion.sum(dim=1).tolist()
    rows = [
        {"class": name, "images": count, "accuracy": accuracy if count else None}
        for name, count, accuracy in zip(evaluation.classes, counts, evaluation.per_class, strict=True)
    ]
    rows.append({"class": "all", "images": evaluation.images, "accuracy": evaluation.top1})
    top5 = "" if evaluation.top5 is None else f", top-5 {evaluation.top5:.2f} %"
    return Table(
        title=f"{evaluation.name} on {evaluation.dataset}, {evaluation.split}",
        columns=(
            Column("class", "class", "left"),
            Column("images", "images", thousands=True),
            Column("accuracy", "top-1 (%)", digits=2),
        ),
        rows=tuple(rows),
        marked=frozenset([len(rows) - 1]),
        notes=(f"top-1 {evaluation.top1:.2f} %{top5} of {evaluation.images:,} images",),
        details=evaluation.to_dict(),
    )
