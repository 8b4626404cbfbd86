"""Where models come from, by what stands before the colon of their names; no library is imported for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from layerprobe.catalogue import Catalogue, Entry, load_target

_MODELS = "layerprobe.models"


@dataclass(frozen=True)
class ModelSource(Entry):
    """A library of networks. ``target`` builds one, called with the name behind the colon, the number of classes, the
    size of the images, and whether to load the published weights.

    Of the functions below each is text, ``module:function``; empty: the source has none.

    Attributes:
        listing: gives the names that may follow the colon.
        knows: says whether a name that isn't listed may follow it all the same; it is given the name and the list, and
            gives the names that it is to be among, or None.
        input: gives the input that a network asks for, called with the name, the network, and whether its published
            weights are loaded.
        publishes: whether its networks have published weights, which are theirs where nothing else is said.
        loads: whether a network is built with its published weights, called with the name; where they are a file of a
            larger model, of which the network takes its part, ``published`` reads that.
        published: gives the published weights of a name, as a file.
        classes: gives how many classes the published weights of a network have, called with the name and the network.
        any_size: builds a network that takes images of any size, called with the name and the number of classes.
        own_size: gives the size of images that the published weights of a name are of.
        headless: says whether a network has no classifier unless it is asked for one.
        is_tower: whether no network of it has a classifier.
    """

    listing: str = ""
    knows: str = ""
    input: str = ""
    publishes: bool = False
    loads: str = ""
    published: str = ""
    classes: str = ""
    any_size: str = ""
    own_size: str = ""
    headless: str = ""
    is_tower: bool = False

    def call(self, function: str, *arguments: Any) -> Any:
        """What one of these functions gives; None: the source has none."""
        target: str = getattr(self, function)
        return load_target(target)(*arguments) if target else None


SOURCES = Catalogue(
    "source of models",
    (
        ModelSource(
            "timm", "timm", "networks of timm", f"{_MODELS}.from_timm:build",
            listing=f"{_MODELS}.from_timm:list_names", knows=f"{_MODELS}.from_timm:known_beside",
            input=f"{_MODELS}.from_timm:timm_input", publishes=True, loads=f"{_MODELS}.from_timm:has_weights",
            classes=f"{_MODELS}.from_timm:published_classes", any_size=f"{_MODELS}.from_timm:build_for_any_size",
            own_size=f"{_MODELS}.from_timm:published_size", headless=f"{_MODELS}.from_timm:is_headless",
        ),
        ModelSource(
            "torchvision", "torchvision", "networks of torchvision", f"{_MODELS}.from_torchvision:build",
            listing=f"{_MODELS}.from_torchvision:list_names", input=f"{_MODELS}.from_torchvision:torchvision_input",
            publishes=True, loads=f"{_MODELS}.from_torchvision:has_weights",
            classes=f"{_MODELS}.from_torchvision:published_classes",
        ),
        ModelSource(
            "cifar", "cifar", "our own networks for small images", f"{_MODELS}.cifar:build",
            listing=f"{_MODELS}.cifar:list_names", input=f"{_MODELS}.cifar:cifar_input",
        ),
        ModelSource(
            "open_clip", "open_clip", "vision towers of open_clip", f"{_MODELS}.open_clip_towers:build_tower",
            listing=f"{_MODELS}.open_clip_towers:list_names", input=f"{_MODELS}.open_clip_towers:tower_input",
            publishes=True, published=f"{_MODELS}.open_clip_towers:published_tower", is_tower=True,
        ),
        ModelSource(
            "transformers", "transformers", "vision towers of transformers",
            f"{_MODELS}.transformers_towers:build_tower", input=f"{_MODELS}.transformers_towers:tower_input",
            publishes=True, loads=f"{_MODELS}.transformers_towers:has_weights", is_tower=True,
        ),
    ),
)  # fmt: skip
"""What stands before the colon of a model's name; a user's own file is one way more."""


def source_of(name: str) -> ModelSource | None:
    """The source that a name, with or without a form for small images, begins with; None: it is a user's file."""
    return SOURCES.get(name.partition(":")[0])
