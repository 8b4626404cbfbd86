"""The images that layers are measured on: a second sample, and whole settings of an extraction by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import Field

from layerprobe.catalogue import Catalogue, Entry
from layerprobe.settings.base import OneOf, Settings, Whole
from layerprobe.settings.flags import Flag

SpectrumSamples = Annotated[
    Annotated[Whole, Field(ge=2)] | None,
    Flag(panel="Data", metavar="INT", default="none: one sample serves for all statistics"),
]
"""How many images of every class the second sample has, which the spectra of the classes come from."""


@dataclass(frozen=True)
class SamplePreset(Entry):
    """Settings of an extraction with a name. Its ``target`` is empty: it is these values.

    Attributes:
        values: of ``ExtractSettings``, by the fields' names.
    """

    values: Mapping[str, Any] = field(default_factory=dict)


SAMPLE_PRESETS = Catalogue(
    "preset",
    (
        # Released code of Cooper et al. (arXiv 2511.14981): S, the least cosines and E come from 5,000 images of all
        # classes, the spectra of the classes from up to 500 images of each, and features are taken whole.
        SamplePreset(
            "paper",
            "the paper's samples",
            "5,000 images, and up to 500 of every class for the spectra; features whole",
            "",
            values={
                "samples": None,
                "spectrum_samples": 500,
                "dtype": "float32",
                "pool": None,
                "tokens": "all",
                "project": None,
            },
        ),
    ),
)
"""What `layerprobe extract` can take its settings from."""


class SamplePresetSettings(Settings):
    """A preset that the options of an extraction are laid over."""

    panel: ClassVar[str] = "Data"

    preset: Annotated[Annotated[str, OneOf(SAMPLE_PRESETS)] | None, Flag()] = None
    """Take the settings of samples and features from a preset. Other options override it."""
