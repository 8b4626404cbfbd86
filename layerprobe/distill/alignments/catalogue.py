"""The alignments, projectors and mappings of feature-only distillation, by name, without importing PyTorch."""

from __future__ import annotations

from dataclasses import dataclass

from layerprobe.catalogue import Catalogue, Entry, plugin_entry

_HERE = "layerprobe.distill.alignments"


@dataclass(frozen=True)
class Alignment(Entry):
    """A way of bringing student and teacher features together. It sees features and nothing else.

    ``target`` is a function of an ``ObjectiveContext`` that gives a ``FeatureObjective``.

    Attributes:
        projects: whether a projector is chosen for it.
        compares: whether a feature loss is chosen for it.
        positions: whether features meet position by position.
        by_class: ``module:function`` of the form whose targets the labels shape; empty: there is none.
        by_attention: ``module:function`` of the form in which learned attention weighs the pairs; empty: there is none.
    """

    projects: bool = False
    compares: bool = True
    positions: bool = True
    by_class: str = ""
    by_attention: str = ""


def _of_a_file(name: str) -> Alignment:
    entry = plugin_entry(name)
    return Alignment(entry.name, entry.label, entry.help, entry.target, projects=True)


ALIGNMENTS = Catalogue(
    "alignment",
    (
        Alignment(
            "projector",
            "projector",
            "a learned projection to the teacher's channels",
            f"{_HERE}.projected:projected",
            projects=True,
            by_attention=f"{_HERE}.attention:attention_mapping",
        ),
        Alignment(
            "geometry",
            "geometry",
            "the teacher's channels along their leading principal axes, as many as the student has channels, at every "
            "position; nothing is learned but the student",
            f"{_HERE}.geometry:principal_axes",
            by_class=f"{_HERE}.by_class:class_axes",
        ),
        Alignment(
            "geometry-flattened",
            "geometry of flattened features",
            "the teacher's features of an image, channels and positions together, along their leading principal axes, "
            "as many as the student has features; nothing is learned but the student; with `--by-class` it is the form "
            "of the paper's released code",
            f"{_HERE}.flattened:flattened_axes",
            positions=False,
            by_class=f"{_HERE}.by_class:class_flattened_axes",
        ),
        Alignment(
            "moments",
            "moments",
            "`projector`, and means and covariances of groups of images: the clusters of the teacher's features "
            "(k-means, 10)",
            f"{_HERE}.moments:moments",
            projects=True,
            by_class=f"{_HERE}.by_class:class_moments",
        ),
        Alignment(
            "relation",
            "relation",
            "cosines between the batch's images",
            f"{_HERE}.relation:relations",
            compares=False,
            positions=False,
        ),
    ),
    plugin=_of_a_file,
)
"""Every alignment."""

POOLED = "pooled"


@dataclass(frozen=True)
class ProjectorForm(Entry):
    """A way from the student's features to the teacher's channels.

    Attributes:
        positions: whether features meet position by position, so that tokens without a counterpart are left out.
    """

    positions: bool = True


def _projector_of_a_file(name: str) -> ProjectorForm:
    entry = plugin_entry(name)
    return ProjectorForm(entry.name, entry.label, entry.help, entry.target, positions=False)


PROJECTORS = Catalogue(
    "projector",
    (
        ProjectorForm("one-layer", "one-layer", "a 1x1 convolution", "layerprobe.distill.projectors:Projector"),
        ProjectorForm(
            "three-layer",
            "three-layer",
            "1x1, 3x3 and 1x1 convolutions with batch normalization and ReLU between",
            "layerprobe.distill.projectors:ThreeLayerProjector",
        ),
        ProjectorForm(
            POOLED,
            POOLED,
            "one vector for each image, the mean over positions or the class token, and a linear map",
            "layerprobe.distill.projectors:PooledProjector",
            positions=False,
        ),
    ),
    plugin=_projector_of_a_file,
)
"""Every projector: made from the student's and the teacher's shape of one image, called with the features of both."""

ONE_TO_ONE, FULL, ATTENTION = "one-to-one", "full", "attention"

MAPPINGS = Catalogue(
    "mapping",
    (
        Entry(
            ONE_TO_ONE,
            ONE_TO_ONE,
            "the i-th student layer learns from the i-th teacher layer, in order of depth",
            "layerprobe.distill.pairing:one_to_one",
        ),
        Entry(
            FULL,
            FULL,
            "every student layer learns from every teacher layer",
            "layerprobe.distill.pairing:full_pairing",
        ),
        Entry(
            ATTENTION,
            ATTENTION,
            "every student layer learns from every teacher layer, weighted for each image by learned attention; of the "
            "alignment `projector`",
            "layerprobe.distill.pairing:full_pairing",
        ),
    ),
)
"""Every mapping that has a name: which of the chosen student layers learns from which of the chosen teacher layers."""
