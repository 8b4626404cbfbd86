"""A student distilled by LightlyTrain, from the same teacher, images and number of epochs as a run of layerprobe.

    pip install lightly-train
    python benchmarks/peer_lightly_train.py --teacher cifar:resnet56 --teacher-weights resnet56.th \\
        --student cifar:resnet20 --data cifar10/ --samples 10000 --epochs 8 --seed 0 --output lightly/

The student is trained by LightlyTrain's own `pretrain(method="distillation")`, with its optimizer, its augmentation and
its loss: of the last layer, the similarities of pooled features to those of earlier images, and of positions to each
other. Both networks are layerprobe's, wrapped as LightlyTrain asks for it; what counts as their features is their last
block. Images are those that a run without labels draws, and keep the student's size. `--batch-size` is the only other
thing that is chosen here. At the end the command is printed that evaluates the student's weights as those of a run are.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import lightly_train
from torch import Tensor, nn

from layerprobe.data.datasets import open_split
from layerprobe.data.sampling import uniform_sample
from layerprobe.models.weights import save_weights
from layerprobe.networks import Network, load_network
from layerprobe.records import Preprocessing, body_layers
from layerprobe.settings.data import DataSettings
from layerprobe.settings.model import ModelSettings


class Wrapped(nn.Module):
    """A network as LightlyTrain calls it: its last block's features as a map, and their pooled form.

    Args:
        network: loaded by layerprobe.
        given: how LightlyTrain prepares images, which is undone in favour of the network's own way.
    """

    def __init__(self, network: Network, given: Preprocessing) -> None:
        super().__init__()
        self.module = network.module
        self.layer = body_layers(network.layers)[-1]
        self.own, self.given = network.preprocessing, given
        self.kept: list[Tensor] = []
        self.module.get_submodule(self.layer.name).register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: Any, output: Tensor) -> None:
        self.kept.append(output)

    def _prepared(self, images: Tensor) -> Tensor:
        def as_map(values: tuple[float, ...]) -> Tensor:
            return images.new_tensor(values)[:, None, None]

        raw = images * as_map(self.given.std) + as_map(self.given.mean)
        return (raw - as_map(self.own.mean)) / as_map(self.own.std)

    def forward_features(self, x: Tensor) -> dict[str, Tensor]:
        """Its map (B, D, H, W), and of a transformer the class token (B, D)."""
        self.module(self._prepared(x))
        output, layout = self.kept.pop(), self.layer.layout
        if output.ndim == 4:
            return {"features": output}
        prefix = output.shape[1] - layout.height * layout.width
        patches = output[:, prefix:].transpose(1, 2).unflatten(2, (layout.height, layout.width))
        return {"features": patches, **({"cls_token": output[:, 0]} if prefix else {})}

    def forward_pool(self, x: dict[str, Tensor]) -> dict[str, Tensor]:
        """The class token where there is one, else the mean over positions, (B, D, 1, 1)."""
        pooled = x["cls_token"] if "cls_token" in x else x["features"].mean(dim=(2, 3))
        return {"pooled_features": pooled[:, :, None, None]}

    def feature_dim(self) -> int:
        """D."""
        return int(self.layer.shape[0] if len(self.layer.shape) == 3 else self.layer.shape[-1])

    def get_model(self) -> nn.Module:
        """The network itself."""
        return self.module

    def architecture_info(self) -> dict[str, str]:
        """What decides on the weight decay."""
        norm = any(isinstance(module, nn.LayerNorm) for module in self.module.modules())
        return {
            "model_type": "transformer" if len(self.layer.shape) == 2 else "convolutional",
            "norm_type": "layernorm" if norm else "batchnorm",
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--teacher", required=True)
    parser.add_argument("--teacher-weights", required=True)
    parser.add_argument("--student", required=True)
    parser.add_argument("--data", required=True, help="a folder of images; class folders are not looked at")
    parser.add_argument("--samples", type=int, default=10_000)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    told = parser.parse_args()

    settings = DataSettings(name=told.data, unlabelled=True)
    images = open_split(settings, "train")
    rows, files = uniform_sample(images, told.samples, seed=0).rows, images.paths or ()
    student = load_network(
        ModelSettings(name=told.student, weights="random", num_classes=0), settings, images, told.seed, trained=True
    )
    teacher = load_network(
        ModelSettings(name=told.teacher, weights=told.teacher_weights, num_classes=0), settings, images
    )
    given = student.preprocessing
    lightly_train.pretrain(
        out=told.output / "lightly", data=[str(Path(told.data, files[row])) for row in rows], overwrite=True,
        model=Wrapped(student, given), method="distillation",
        method_args={"teacher": Wrapped(teacher, given)},
        epochs=told.epochs, batch_size=told.batch_size, seed=told.seed, accelerator="cpu", num_workers=0,
        transform_args={
            "image_size": given.image_size,
            "normalize": {"mean": given.mean, "std": given.std},
        },
    )  # fmt: skip
    weights = told.output / "student.safetensors"
    save_weights(student.module, weights, {})
    layer = body_layers(student.layers)[-1].name
    print(
        f"layerprobe evaluate --model {told.student} --weights {weights} --num-classes 0 --data {told.data} "
        f"--by probe,knn --layers {layer} --train-samples {told.samples}"
    )


if __name__ == "__main__":
    main()
