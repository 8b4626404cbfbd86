"""Whatever the recipe, labels never reach a backbone that learns from features."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from layerprobe.data.loading import Pixels
from layerprobe.distill.config import DistillConfig
from layerprobe.distill.run import distill_student

RECIPES = [
    {"clip": 0.05},
    {"optimizer": "sgd", "schedule": "cosine", "learning_rate": 0.05, "accumulate": 2, "clip": 0.05},
    {"augment": "trivial", "backbone_lr_factor": 0.1, "holdout": 0.2},
    {"precision": "bf16", "check": False, "clip": 0.05},
]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: next(iter(recipe)))
def test_permuted_labels_give_a_bit_identical_backbone(
    small: DistillConfig, tmp_path: Path, recipe: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(small, training=replace(small.training, **recipe))
    ours = load_file(distill_student(config).weights)
    begin = Pixels.__init__

    def permuted(self: Pixels, *arguments: object, **more: object) -> None:
        begin(self, *arguments, **more)
        self.labels = self.labels[torch.randperm(len(self.labels), generator=torch.Generator().manual_seed(1))]

    monkeypatch.setattr(Pixels, "__init__", permuted)
    theirs = load_file(distill_student(replace(config, output=tmp_path / "permuted")).weights)
    assert {name for name in ours if not torch.equal(ours[name], theirs[name])} == {"linear.weight", "linear.bias"}


def test_every_part_is_clipped(small: DistillConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate import Accelerator

    norms = []
    clip = Accelerator.clip_grad_norm_

    def watched(self: Accelerator, parameters: list[torch.nn.Parameter], largest: float) -> torch.Tensor:
        norm = clip(self, parameters, largest)
        after = torch.stack([p.grad.norm() for p in parameters if p.grad is not None]).norm()
        norms.append((len(parameters), float(norm), float(after)))
        return norm

    monkeypatch.setattr(Accelerator, "clip_grad_norm_", watched)
    distill_student(replace(small, training=replace(small.training, clip=0.05, epochs=1)))
    assert {count for count, _, _ in norms} == {2, 59}  # the classifier; the rest of the network and 2 projectors
    assert all(after <= 0.0501 for _, _, after in norms) and max(before for _, before, _ in norms) > 0.05
    distill_student(
        replace(small, method="kd", layers=None, overwrite=True, training=replace(small.training, clip=0.05))
    )
    assert norms[-1][0] == 59
