"""Where a ranking comes from, as facts for a page: the network, the images, and what became of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from layerprobe.records import Preprocessing
from layerprobe.records.adaptation import ADAPTED, adaptations
from layerprobe.records.parsing import parse
from layerprobe.report.tables.layers import describe_spectra, images_per_class
from layerprobe.report.tables.ranking import describe_views

_NAMED = 12
"""Classes that are named; of more the first ones are."""


def sample_facts(source: Mapping[str, Any], classes: Sequence[str]) -> Mapping[str, str]:
    """What a ranking says of its network and its images, by what it is; what it doesn't say is left out.

    Args:
        source: provenance of the ranking.
        classes: names of the classes; empty: they are not known.
    """
    sample = source.get("sample") or {}
    facts = {
        "Network": source.get("model"),
        "Weights": source.get("weights"),
        "SHA-256 of the weights": source.get("weights_sha256"),
        "Changed of its first weights": "; ".join(map(str, adaptations(source, ADAPTED))),
        "Data set": source.get("dataset"),
        "Split": _split(source),
        "Images": _images(source),
        "Classes": _classes(classes),
        "Drawn": sample.get("how"),
        "Images of the spectra": describe_spectra(source),
        "Views": describe_views(source),
        "Preprocessing": _preprocessing(source),
        "Features": _features(source),
    }
    return {name: str(fact) for name, fact in facts.items() if fact}


def _split(source: Mapping[str, Any]) -> str:
    size = f" ({source['population']:,} images)" if source.get("population") else ""
    return f"{source['split']}{size}" if source.get("split") else ""


def _images(source: Mapping[str, Any]) -> str:
    sample = source.get("sample") or {}
    of_class = images_per_class(sample)
    parts = (
        f"{source['rows']:,}" if source.get("rows") else "",
        f"{of_class} of every class" if of_class else "",
        f"{sample['left_out']} left out, which could not be read" if sample.get("left_out") else "",
    )
    return ", ".join(filter(None, parts))


def _classes(classes: Sequence[str]) -> str:
    if not classes:
        return ""
    more = ", ..." if len(classes) > _NAMED else ""
    return f"{len(classes)}: {', '.join(classes[:_NAMED])}{more}"


def _preprocessing(source: Mapping[str, Any]) -> str:
    values = source.get("preprocessing")
    return parse(Preprocessing, values, "preprocessing", "extract it again").describe() if values else ""


def _features(source: Mapping[str, Any]) -> str:
    by = f" by layerprobe {source['layerprobe_version']}" if source.get("layerprobe_version") else ""
    kept = f"{source['dtype']}, " if source.get("dtype") else ""
    return f"{kept}extracted {source['created']}{by}" if source.get("created") else ""
