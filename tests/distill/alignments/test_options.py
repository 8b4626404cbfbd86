"""Which forms of feature-only there are, and which are refused."""

from pathlib import Path

import pytest

from layerprobe.distill.alignments.attention import AttentionMapping
from layerprobe.distill.alignments.by_class import ClassAxes, ClassMoments
from layerprobe.distill.alignments.projected import FeatureOnly
from layerprobe.distill.methods.feature_only import FeaturesAndLogits
from layerprobe.distill.pairing import Pairing, full_pairing
from layerprobe.distill.projectors import ThreeLayerProjector
from layerprobe.errors import LayerprobeError
from layerprobe.records import Layer
from layerprobe.settings.alignment import AlignmentSettings
from layerprobe.settings.run import DistillSettings
from tests.helpers.objectives import feature_only

PAIRING = Pairing(
    (Layer(0, "a", "block", (2, 4, 4), 0), Layer(1, "b", "block", (3, 2, 2), 0)),
    (Layer(0, "x", "block", (5, 4, 4), 0), Layer(1, "y", "block", (4, 2, 2), 0)),
)


def test_what_the_forms_mean() -> None:
    assert isinstance(feature_only(AlignmentSettings(), PAIRING, 3), FeatureOnly)
    crossed = full_pairing(PAIRING.student, PAIRING.teacher)
    attention = feature_only(AlignmentSettings(mapping="attention", projector="three-layer"), crossed, 3, batch_size=8)
    assert isinstance(attention, AttentionMapping) and attention.attention.batch_size == 8
    assert all(isinstance(projector, ThreeLayerProjector) for projector in attention.projectors)
    ablation = feature_only(AlignmentSettings(mapping="attention", kl=True), crossed, 3)
    assert isinstance(ablation, FeaturesAndLogits) and isinstance(ablation.features, AttentionMapping)
    three = feature_only(AlignmentSettings(projector="three-layer"), PAIRING, 3)
    assert isinstance(three, FeatureOnly)
    assert all(isinstance(projector, ThreeLayerProjector) for projector in three.projectors)
    assert isinstance(feature_only(AlignmentSettings(name="geometry", by_class=True), PAIRING, 3), ClassAxes)
    assert isinstance(feature_only(AlignmentSettings(name="moments", by_class=True), PAIRING, 3), ClassMoments)
    ablation = feature_only(AlignmentSettings(name="geometry", cross_entropy=True, kl=True), PAIRING, 3)
    assert isinstance(ablation, FeaturesAndLogits) and ablation.needs_fit


def test_labels_of_the_forms() -> None:
    assert AlignmentSettings().label == ""
    assert (
        AlignmentSettings(name="geometry", by_class=True, feature_loss="huber").label
        == "geometry, by class, huber, uses labels"
    )
    assert AlignmentSettings(cross_entropy=True, kl=True).label == "+ cross entropy, + KL, uses labels"
    assert (
        AlignmentSettings(mapping="full").label == "full mapping"
        and AlignmentSettings(mapping="a=x,b=y").label == "table of 2 pairs"
    )
    assert AlignmentSettings(kl=True, feature_weight=400).label == "400 x features, + KL"
    assert AlignmentSettings(kl=True).label == "+ KL" and not AlignmentSettings(kl=True).uses_labels


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"name": "beauty"},
            "name: no alignment 'beauty'; known: 'projector', 'geometry', 'geometry-flattened', 'moments', 'relation'",
        ),
        ({"feature_loss": "msd"}, "feature_loss: no feature loss 'msd'; closest: 'mse'"),
        ({"projector": "two"}, "projector: no projector 'two'; known: 'one-layer', 'three-layer'"),
        (
            {"mapping": "atention"},
            "mapping: a mapping is one of one-to-one, full, attention, or .*; not 'atention'; closest: 'att",
        ),
        ({"mapping": 3}, "mapping: a mapping is one of one-to-one, full, attention, or .*; not 3"),
        ({"mapping": "a=x,b"}, "mapping: a table has pairs STUDENT=TEACHER separated by commas, .*; not 'b'"),
        ({"mapping": "a=x=y"}, "mapping: a table has pairs STUDENT=TEACHER separated by commas, .*; not 'a=x=y'"),
        ({"mapping": "=x"}, "mapping: a table has pairs STUDENT=TEACHER separated by commas, .*; not '=x'"),
        ({"mapping": ",=,"}, "mapping: a table has pairs STUDENT=TEACHER separated by commas, .*; not '='"),
        (
            {"name": "relation", "mapping": "attention"},
            "mapping attention weighs projected features; relation is one",
        ),
        ({"by_class": True}, "by_class is a form of geometry, geometry-flattened, moments; projector has no classes"),
        ({"name": "relation", "projector": "three-layer"}, "projector is for projector and moments; relation"),
        ({"name": "relation", "feature_loss": "cosine"}, "feature_loss is for features of one shape"),
        ({"name": "moments", "by_class": True, "kl": True}, "by_class and the ablations with logits"),
        (
            {"feature_weight": 400.0},
            "feature_weight is of the ablations of feature-only: give it together",
        ),
        ({"feature_weight": 0.0, "kl": True}, "feature_weight is above 0, not 0.0"),
        ({"feature_weight": float("nan"), "kl": True}, "feature_weight is a finite number, not nan"),
    ],
)
def test_what_does_not_go_together_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(LayerprobeError, match=message):
        AlignmentSettings(**values)  # type: ignore[arg-type]


def test_a_form_of_feature_only_is_no_form_of_another_method(tmp_path: Path) -> None:
    with pytest.raises(LayerprobeError, match="are forms of feature-only; kd has its own; leave them out"):
        DistillSettings(
            method="kd",
            teacher="cifar:resnet20",
            student="cifar:resnet20",
            data="digits",
            output=tmp_path / "run",
            alignment=AlignmentSettings(name="relation"),
        )
