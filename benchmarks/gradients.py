"""How strongly each baseline's features pull at the student at initialisation, in every setting that it has.

    python benchmarks/gradients.py                          # ResNet-56 teaches ResNet-20, random weights, 128 images
    python benchmarks/gradients.py --weights resnet56.th --data cifar10/

The norm of the gradient of the features' term in the student's paired features, and in its backbone's parameters;
beside them those of cross entropy and of the teacher's softened logits in the same parameters. Terms that stand in a
later epoch alone are taken as they are in the first epoch that has them, and all of them before any training. A by-hand
value in float64 for each formula stands in ``tests/distill/methods``: ``test_settings.py``, ``test_fitnets.py``,
``test_simkd_paper.py`` and ``test_methods.py``.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from layerprobe.data.loading import batches
from layerprobe.data.preprocessing import normalize
from layerprobe.distill.batches import Passes
from layerprobe.distill.methods.catalogue import METHODS, PAPER, PENULTIMATE
from layerprobe.distill.prepare import prepare_distillation
from layerprobe.distill.session import RunSession
from layerprobe.layers.capture import Capture
from layerprobe.records import silent
from layerprobe.settings.data import DataSettings
from layerprobe.settings.model import ModelSettings
from layerprobe.settings.recipe import TrainingSettings
from layerprobe.settings.run import DistillSettings

EPOCHS = 10
"""Of a training whose epochs may have different terms."""

LABELS = ("cross_entropy",)
LOGITS = ("kl", "soft_cross_entropy", "target_kl", "others_kl")
"""Names of the terms of labels, and of those of the teacher's logits."""


def norm(terms: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """Of the gradient of the sum of terms; NaN: there is none."""
    if not terms or not wanted:
        return math.nan
    gradients = torch.autograd.grad(torch.stack(list(terms)).sum(), wanted, retain_graph=True, allow_unused=True)
    return math.sqrt(sum(float(one.square().sum()) for one in gradients if one is not None))


def measure(settings: DistillSettings) -> tuple[float, ...]:
    """Features' term; its norm in features and backbone; those of labels' and logits' terms in the backbone."""
    session = RunSession(settings)
    setup = (prepared := prepare_distillation(session, settings)).setup
    batch = next(iter(batches(session.load_images(prepared.student.preprocessing, silent).train)))
    inputs = normalize(batch.pixels, prepared.student.preprocessing)
    setup.student.train()
    assert setup.teacher is not None
    with Capture(setup.student, setup.pairing.student) as ours, Capture(setup.teacher, setup.pairing.teacher) as theirs:
        student = ours(inputs)
        with torch.no_grad():
            teacher = theirs(inputs)
    passes = Passes(setup.pairing, student, teacher, batch.labels, batch.positions)
    terms: dict[str, Tensor] = {}
    for epoch in range(1, EPOCHS + 1):
        setup.objective.start_epoch(epoch, EPOCHS)
        terms = {**setup.objective.train()(setup.objective.batch_kind.of(passes)), **terms}
    features = [term for name, term in terms.items() if name not in (*LABELS, *LOGITS)]
    new = {one for path in setup.new_modules for one in setup.student.get_submodule(path).parameters()}
    backbone = [one for one in setup.student.parameters() if one not in new]
    others = ([terms[name] for name in names if name in terms] for names in (LABELS, LOGITS))
    return (
        float(torch.stack(features).sum().detach()) if features else math.nan,
        norm(features, list(student.features.values())),
        *(norm(chosen, backbone) for chosen in (features, *others)),
    )


def main() -> None:
    """Print a line for every method with a teacher and every setting of it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--teacher", default="cifar:resnet56")
    parser.add_argument("--weights", default="random")
    parser.add_argument("--student", default="cifar:resnet20")
    parser.add_argument("--data", default="digits")
    given = parser.parse_args()
    print(f"{'method':<20}{'setting':<13}{'term':>10}{'features':>10}{'backbone':>10}{'labels':>10}{'logits':>10}")
    for name, method in METHODS.items():
        if not method.needs_teacher or method.layers_required or method.pairs == PENULTIMATE:
            continue
        for setting in method.settings if method.shown_setting(method.default_setting) else [method.default_setting]:
            with tempfile.TemporaryDirectory() as folder:
                found = measure(
                    DistillSettings(
                        method=name,
                        setting=setting,
                        teacher=ModelSettings(name=given.teacher, weights=given.weights),
                        student=ModelSettings(name=given.student),
                        data=DataSettings(name=given.data, image_size=32),
                        output=Path(folder) / "run",
                        training=TrainingSettings(batch_size=128, train_samples=200, test_samples=20, device="cpu"),
                    )
                )
            same = "same in both" if PAPER in method.settings else setting
            label = method.shown_setting(setting) or same
            print(f"{name:<20}{label:<13}" + "".join(f"{value:>10.3g}" for value in found))


if __name__ == "__main__":
    main()
