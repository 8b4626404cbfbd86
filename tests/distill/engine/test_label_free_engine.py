"""Whatever the recipe, labels never reach a backbone that learns from features."""

import pytest
import torch
from safetensors.torch import load_file

from layerprobe.data.loading import Pixels
from layerprobe.distill.run import distill_student
from layerprobe.settings.alignment import AlignmentSettings
from layerprobe.settings.run import DistillSettings

RECIPES = [
    {"clip": 0.05},
    {"optimizer": "sgd", "schedule": "cosine", "lr": 0.05, "accumulate": 2, "clip": 0.05},
    {"augment": "trivial", "backbone_lr_factor": 0.1, "holdout": 0.2},
    {"precision": "bf16", "check": False, "clip": 0.05},  # slow where the CPU has no bfloat16
]


def with_permuted_labels_differ(config: DistillSettings, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The names of the student's tensors that the labels reach."""
    ours = load_file(distill_student(config).weights)
    begin = Pixels.__init__

    def permuted(self: Pixels, *arguments: object, **more: object) -> None:
        begin(self, *arguments, **more)
        self.labels = self.labels[torch.randperm(len(self.labels), generator=torch.Generator().manual_seed(1))]

    monkeypatch.setattr(Pixels, "__init__", permuted)
    theirs = load_file(distill_student(config.replaced(output=config.output.with_name("permuted"))).weights)
    return {name for name in ours if not torch.equal(ours[name], theirs[name])}


@pytest.mark.parametrize(
    "recipe",
    [pytest.param(one, id=next(iter(one)), marks=[pytest.mark.slow] if "precision" in one else []) for one in RECIPES],
)
def test_permuted_labels_give_a_bit_identical_backbone(
    small: DistillSettings, recipe: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small.replaced(training=small.training.replaced(**recipe))
    assert with_permuted_labels_differ(config, monkeypatch) == {"linear.weight", "linear.bias"}


@pytest.mark.parametrize("mapping", ["attention", "layer3.1=layer2.0,layer1.2=layer3.1"])
def test_labels_reach_nothing_up_to_the_deepest_layer_of_a_mapping(
    small: DistillSettings, mapping: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small.replaced(
        layers="layer2.0,layer3.1" if mapping == "attention" else None,
        student_layers=("layer1.2", "layer2.2", "layer3.1") if mapping == "attention" else None,
        alignment=AlignmentSettings(mapping=mapping),
    )
    reached = with_permuted_labels_differ(config, monkeypatch)
    assert {"linear.weight", "layer3.2.conv1.weight"} <= reached
    assert {name.rpartition(".")[0].partition(".conv")[0].partition(".bn")[0] for name in reached} == {
        "linear",
        "layer3.2",
    }


def test_every_part_is_clipped(small: DistillSettings, monkeypatch: pytest.MonkeyPatch) -> None:
    norms = []
    clip = torch.nn.utils.clip_grad_norm_

    def watched(parameters: list[torch.nn.Parameter], largest: float) -> torch.Tensor:
        norm = clip(parameters, largest)
        after = torch.stack([p.grad.norm() for p in parameters if p.grad is not None]).norm()
        norms.append((len(parameters), float(norm), float(after)))
        return norm

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", watched)
    distill_student(small.replaced(training=small.training.replaced(clip=0.05, epochs=1)))
    assert {count for count, _, _ in norms} == {2, 59}  # the classifier; the rest of the network and 2 projectors
    assert all(after <= 0.0501 for _, _, after in norms) and max(before for _, before, _ in norms) > 0.05
    distill_student(
        small.replaced(method="kd", layers=None, overwrite=True, training=small.training.replaced(clip=0.05))
    )
    assert norms[-1][0] == 59
