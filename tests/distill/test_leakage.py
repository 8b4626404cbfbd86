"""The invariant of the method: labels never reach the backbone."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import VisionTransformer

from layerprobe.data.datasets import open_dataset
from layerprobe.distill.alignments.catalogue import ALIGNMENTS
from layerprobe.distill.engine.images import Images, load_images
from layerprobe.distill.engine.loop import train
from layerprobe.distill.engine.setup import TrainingSetup
from layerprobe.distill.layer_pairs import pair_by_mapping
from layerprobe.distill.methods.catalogue import FINE_TUNED, METHODS, MIDDLE, PAPER, PENULTIMATE, PUBLICATION
from layerprobe.distill.objective_context import ObjectiveContext
from layerprobe.distill.pairing import Pairing
from layerprobe.errors import LayerprobeError
from layerprobe.layers.discovery import discover_layers
from layerprobe.layers.selection import even_layers
from layerprobe.models.zoo import build_model
from layerprobe.networks import Network
from layerprobe.records import Preprocessing
from layerprobe.runtime.devices import resolve_device
from layerprobe.runtime.process_group import make_accelerator
from layerprobe.settings.alignment import AlignmentSettings
from layerprobe.settings.recipe import RecipeSettings, TrainingSettings

PREPROCESSING = Preprocessing((8, 8), (0.5,) * 3, (0.5,) * 3)


def images(permuted: bool, absent: bool = False) -> Images:
    """64 digits to train on, with their own labels, with permuted ones or with none."""
    splits = [open_dataset("digits", split=split) for split in ("train", "test")]
    loaded = load_images(
        *splits, PREPROCESSING, TrainingSettings(batch_size=32, train_samples=64, test_samples=20, seed=3)
    )
    if permuted:
        pixels = loaded.train.dataset
        pixels.labels[:] = pixels.labels[torch.randperm(len(pixels.labels), generator=torch.Generator().manual_seed(1))]
    if absent:
        loaded.train.dataset.labels = None
        return replace(loaded, test=None)
    return loaded


TRANSFORMER = "transformer"


def build(name: str, seed: int) -> nn.Module:
    """A network of the zoo, or a small transformer of the same make as its own, with 4 x 4 patches."""
    if name != TRANSFORMER:
        return build_model(name, num_classes=10, image_size=8, seed=seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return VisionTransformer(8, 2, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32, num_classes=10)


def trained(
    method: str,
    permuted: bool,
    student_name: str = "cifar:resnet20",
    alignment: AlignmentSettings | None = None,
    pairs: int = 3,
    teacher_name: str = "cifar:resnet32",
    tokens: str = "",
    setting: str = PUBLICATION,
    absent: bool = False,
) -> dict[str, Tensor]:
    teacher, student = build(teacher_name, seed=7).eval(), build(student_name, seed=0)
    pairing = Pairing(
        even_layers(discover_layers(student, (8, 8)), pairs, "student"),
        even_layers(discover_layers(teacher, (8, 8)), pairs, "teacher"),
    )
    torch.manual_seed(0)
    needs, form = METHODS[method].in_setting(setting), alignment or AlignmentSettings()
    if needs.pairs == PENULTIMATE:
        pairing = Pairing(discover_layers(student, (8, 8))[-1:], discover_layers(teacher, (8, 8))[-1:])
    if needs.pairs == MIDDLE:
        pairing = Pairing(pairing.student[1:2], pairing.teacher[1:2])
    if needs.changes_student:
        changed = needs.load_change()(network_of(student), network_of(teacher), pairing, 0)
        student, pairing = changed.module, changed.pairing
    elif (mapping := form.mapping.mapping if needs.takes_alignment else needs.mapping) != "one-to-one":
        pairing = pair_by_mapping(mapping, pairing.student, pairing.teacher)
    pairing = pairing.comparing(tokens) if tokens else pairing
    objective = needs.build(ObjectiveContext(pairing, 32, 10, form))
    setup = TrainingSetup(student, objective, pairing if needs.uses_features else Pairing((), ()), teacher)
    setup = replace(setup, has_classifier=not absent)
    recipe = RecipeSettings(epochs=2, lr=0.005, seed=5)
    train(setup, images(permuted, absent), recipe, make_accelerator(resolve_device("cpu")))
    return student.state_dict()


def network_of(module: nn.Module) -> Network:
    return Network("", module, "", "", PREPROCESSING, discover_layers(module, (8, 8)), 10)


def differing(first: dict[str, Tensor], second: dict[str, Tensor]) -> set[str]:
    return {name for name, value in first.items() if not torch.equal(value, second[name])}


@pytest.mark.parametrize(
    ("student", "head"),
    [
        ("cifar:resnet20", {"linear.weight", "linear.bias"}),
        pytest.param("cifar:vit-small", None, marks=pytest.mark.slow),
    ],
)
def test_permuted_labels_give_a_bit_identical_backbone(student: str, head: set[str] | None) -> None:
    changed = differing(trained("feature-only", False, student), trained("feature-only", True, student))
    assert changed == (head or HEAD_OF_TRANSFORMER)


FORMS = [
    *(AlignmentSettings(name=name) for name in ALIGNMENTS),
    AlignmentSettings(feature_loss="huber"),
    AlignmentSettings(feature_loss="cosine"),
    AlignmentSettings(projector="three-layer"),
    AlignmentSettings(name="moments", projector="three-layer", mapping="full"),
    AlignmentSettings(mapping="attention"),
    AlignmentSettings(mapping="attention", projector="three-layer", feature_loss="cosine"),
]


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.label or "default")
def test_no_label_free_form_lets_labels_reach_the_backbone(form: AlignmentSettings) -> None:
    assert not form.uses_labels and not METHODS["feature-only"].labels_reach_backbone(form)
    own = trained("feature-only", False, alignment=form)
    others = (
        trained("feature-only", True, alignment=form),
        trained("feature-only", False, alignment=form, absent=True),
    )
    assert [differing(own, other) for other in others] == [{"linear.weight", "linear.bias"}] * 2


HEAD_OF_TRANSFORMER = {"encoder.ln.weight", "encoder.ln.bias", "heads.head.weight", "heads.head.bias"}


@pytest.mark.parametrize(
    ("teacher", "student", "tokens"),
    [
        (TRANSFORMER, TRANSFORMER, ""),
        ("cifar:resnet32", TRANSFORMER, "all"),
        (TRANSFORMER, "cifar:resnet20", "cls"),
    ],
)
@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.label or "default")
def test_nor_does_any_with_transformers(form: AlignmentSettings, teacher: str, student: str, tokens: str) -> None:
    absent = [False, True] if teacher == student else [False]  # of the others, as of CNNs, permuted labels will do
    own, *others = (
        trained("feature-only", permuted, student, form, teacher_name=teacher, tokens=tokens, absent=none)
        for permuted, none in ((False, False), *((not none, none) for none in absent))
    )
    head = HEAD_OF_TRANSFORMER if student == TRANSFORMER else {"linear.weight", "linear.bias"}
    assert [differing(own, other) for other in others] == [head] * len(absent)


@pytest.mark.parametrize(
    ("setting", "learns"),
    [(PUBLICATION, set()), (FINE_TUNED, {"heads.head.classifier.weight", "heads.head.classifier.bias"})],
)
@pytest.mark.parametrize(("teacher", "student"), [(TRANSFORMER, TRANSFORMER), ("cifar:resnet32", TRANSFORMER)])
def test_labels_reach_nothing_but_a_fine_tuned_classifier_of_transformers(
    teacher: str, student: str, setting: str, learns: set[str]
) -> None:
    first, second = (
        trained("simkd", permuted, student, teacher_name=teacher, setting=setting) for permuted in (False, True)
    )
    assert differing(first, second) == learns


@pytest.mark.parametrize(
    "form",
    [
        AlignmentSettings(name="geometry", by_class=True),
        AlignmentSettings(name="geometry-flattened", by_class=True),
        AlignmentSettings(name="moments", by_class=True),
        AlignmentSettings(cross_entropy=True),
    ],
    ids=lambda form: form.label,
)
def test_forms_that_say_that_they_use_labels_do(form: AlignmentSettings) -> None:
    assert form.uses_labels and form.label.endswith("uses labels")
    assert METHODS["feature-only"].labels_reach_backbone(form)
    changed = differing(trained("feature-only", False, alignment=form), trained("feature-only", True, alignment=form))
    assert {"conv1.weight", "layer2.1.conv1.weight"} <= changed


@pytest.mark.parametrize(("setting", "learns"), [(PUBLICATION, set()), (FINE_TUNED, {"linear.weight", "linear.bias"})])
def test_labels_reach_nothing_but_a_classifier_that_simkd_fine_tunes(setting: str, learns: set[str]) -> None:
    assert not METHODS["simkd"].in_setting(setting).labels_reach_backbone(AlignmentSettings())
    first, second = (trained("simkd", permuted, setting=setting) for permuted in (False, True))
    assert differing(first, second) == learns
    assert "layer3.projector.layers.0.weight" in first
    teacher = build_model("cifar:resnet32", num_classes=10, seed=7).state_dict()
    assert torch.equal(first["linear.weight"], teacher["linear.weight"]) == (not learns)


EVERY_OTHER = sorted(
    (name, setting)
    for name, method in METHODS.items()
    for setting in method.settings
    if name != "feature-only" and not (name == "simkd" and setting != PAPER)
)


@pytest.mark.parametrize(("method", "setting"), EVERY_OTHER)
def test_permuted_labels_change_the_backbone_of_every_other_method(method: str, setting: str) -> None:
    form = METHODS[method].in_setting(setting)
    if setting != METHODS[method].default_setting and form == METHODS[method]:
        pytest.skip("the same as in the publication")
    assert form.labels_reach_backbone(AlignmentSettings())
    changed = differing(*(trained(method, permuted, setting=setting) for permuted in (False, True)))
    assert {"conv1.weight", "layer2.1.conv1.weight"} <= changed


def test_the_same_seed_gives_the_same_weights() -> None:
    assert not differing(trained("feature-only", False), trained("feature-only", False))


class Bypass(nn.Module):
    """A connection around the block leads from the stem to the classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.act = nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()
        self.body, self.body_act = nn.Conv2d(4, 4, 3, padding=1), nn.ReLU()
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        early = self.act(self.stem(x))
        late = self.body_act(self.body(early))
        return self.head(torch.cat([early.mean(dim=(2, 3)), late.mean(dim=(2, 3))], dim=1))


def test_a_connection_around_the_last_layer_is_found_before_training() -> None:
    teacher = build_model("cifar:resnet20", num_classes=10, seed=7).eval()
    student = Bypass()
    layers = discover_layers(student, (8, 8))
    pairing = Pairing(layers[1:2], even_layers(discover_layers(teacher, (8, 8)), 1, "teacher"))
    setup = TrainingSetup(student, METHODS["feature-only"].build(ObjectiveContext(pairing)), pairing, teacher)
    before = {name: value.clone() for name, value in student.state_dict().items()}
    with pytest.raises(LayerprobeError, match=r"reaches the backbone at 'stem.weight'.*bypasses 'body_act'"):
        train(setup, images(False), RecipeSettings(epochs=1, lr=0.01), make_accelerator(resolve_device("cpu")))
    assert not differing(before, student.state_dict())
