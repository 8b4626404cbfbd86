"""Models and feature files as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from layerprobe.records import Layer, Preprocessing, StoredLayer
from layerprobe.records.adaptation import ADAPTED, adaptations, in_brief
from layerprobe.records.feature_header import AugmentedView, WrittenCounts
from layerprobe.records.layout import Layout
from layerprobe.records.parsing import parse
from layerprobe.report.tables.table import Column, Table

LAYER_COLUMNS = (
    Column("index", "#"),
    Column("name", "layer", "left", key=True),
    Column("kind", "kind", "left"),
    Column("shape", "shape", "left"),
)
"""What every table of layers starts with."""


def layers_table(layers: Sequence[StoredLayer], model: str, dtype: str, images: int) -> Table:
    """The layers of a model, and the bytes that a feature file of them takes.

    Args:
        layers: the layers as they would be stored.
        model: its name.
        dtype: ``float16`` or ``float32``, the type they would be stored in.
        images: how many images the file would hold.
    """
    size = images * sum(_bytes_per_image(stored, dtype) for stored in layers)
    tokens = [Column("tokens", "tokens", "left")] if any(stored.layer.layout.is_tokens for stored in layers) else []
    return Table(
        title=f"{model}: {len(layers)} layers",
        columns=(*_stored_columns(layers), *tokens, Column("parameters", "parameters so far", thousands=True)),
        rows=tuple(
            {
                **_stored(stored, dtype, images),
                "tokens": _tokens(stored.layer.layout),
                "parameters": stored.layer.parameters,
            }
            for stored in layers
        ),
        notes=(f"{images:,} images in {dtype} take {size / 1e6:,.1f} MB",),
        details={"images": images, "dtype": dtype, "bytes": size},
    )


def file_table(
    path: Path,
    layers: Sequence[StoredLayer],
    provenance: Mapping[str, Any],
    counts: WrittenCounts,
    complete: bool,
    damaged: Mapping[str, int] | None,
) -> Table:
    """What is in a feature file.

    Args:
        path: the file.
        layers: its layers.
        provenance: where its features came from.
        counts: how much of it is there.
        complete: whether it is marked complete.
        damaged: of every layer that has rows or class blocks that are not what was written, how many; None: not
            checked.
    """
    rows, dtype = int(provenance["rows"]), str(provenance["dtype"])
    state = "complete" if complete else f"unfinished: {counts}"
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
        details={**provenance, "rows_done": counts.rows_done, "complete": complete, "damaged": damaged},
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
    preprocessing = parse(Preprocessing, source["preprocessing"], "preprocessing", "extract it again").describe()
    versions = f"layerprobe {source['layerprobe_version']}, torch {source['torch_version']}"
    return (
        f"model: {source['model']}, weights: {source['weights']} (SHA-256 {source['weights_sha256'][:12]}...)",
        *([f"changed of its first weights: {in_brief(adapted)}"] if (adapted := adaptations(source, ADAPTED)) else []),
        f"images: {describe_images(source)}: {source['sample']['how']}",
        *([f"{spectra}: {source['spectrum_sample']['how']}"] if (spectra := describe_spectra(source)) else []),
        *([f"images augmented: {describe_view(source['view'])}"] if source.get("view") else []),
        f"preprocessing: {preprocessing}",
        f"computed in {source['precision']} on {source['device']}, {source['created']}, {versions}",
    )


def _stored_columns(layers: Sequence[StoredLayer]) -> tuple[Column, ...]:
    reduced = any(stored.reduction for stored in layers)
    return (
        *LAYER_COLUMNS,
        *((Column("reduction", "reduction", "left"), Column("stored", "stored", "left")) if reduced else ()),
        Column("dimension", "D", thousands=True),
        Column("megabytes", "MB", digits=1),
    )


def _stored(stored: StoredLayer, dtype: str, images: int) -> dict[str, object]:
    return {
        **layer_row(stored.layer),
        "reduction": stored.reduction,
        "stored": _shape(stored.shape),
        "dimension": stored.dimension,
        "megabytes": images * _bytes_per_image(stored, dtype) / 1e6,
    }


def _tokens(layout: Layout) -> str:
    """Extra tokens, and the grid of the patches or, where they form none, their number, e.g. ``1 + 14x14``."""
    if not layout.is_tokens:
        return ""
    patches = _shape((layout.height, layout.width)) if layout.is_map_like else str(layout.positions)
    return f"{layout.prefix} + {patches}" if layout.prefix else patches


def _bytes_per_image(stored: StoredLayer, dtype: str) -> int:
    return stored.dimension * {"float16": 2, "float32": 4}[dtype]


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def layer_row(layer: Layer) -> dict[str, object]:
    """A layer's cells under ``LAYER_COLUMNS``."""
    return {
        "index": layer.index,
        "name": layer.name,
        "kind": layer.kind,
        "shape": _shape(layer.shape),
    }


def describe_images(source: Mapping[str, Any]) -> str:
    """How many images of which data set, from the provenance of features or of a ranking."""
    left_out = f", {count} left out" if (count := (source.get("sample") or {}).get("left_out")) else ""
    size = f"{source.get('rows', '?')} images{_described(images_per_class(source.get('sample')))}{left_out}"
    dataset = Path(str(source.get("dataset", "?"))).name
    return f"{size} of {source.get('population', '?')} in {dataset}, split {source.get('split', '?')}"


def describe_view(view: Mapping[str, Any] | None) -> str:
    """What was done to the images, from the provenance of features; None: nothing."""
    return str(parse(AugmentedView, view, "view", "extract it again")) if view else "the images as they are"


def describe_spectra(source: Mapping[str, Any]) -> str:
    """How many images the spectra of the classes come from, where these are a second sample; else empty."""
    sample = source.get("spectrum_sample")
    return f"spectra of {sample['images']} images{_described(images_per_class(sample))}" if sample else ""


def images_per_class(sample: Mapping[str, Any] | None) -> str:
    """How many images a sample has of a class, in words; empty where it isn't drawn by class."""
    sample = sample or {}
    if fewest := sample.get("fewest_per_class"):
        return f"{fewest} to {sample['most_per_class']}"
    return str(sample.get("per_class") or "")


def _described(per_class: str) -> str:
    return f" ({per_class} per class)" if per_class else ""
