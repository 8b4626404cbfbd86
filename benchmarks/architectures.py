"""Discovery and capture on one model of every timm module and torchvision family: the table in docs/architectures.md.

    python benchmarks/architectures.py --output docs/architectures.md

Of every timm module the model with the fewest parameters (timm's own tests aside) is built with random weights at the
smallest square image that it takes. It passes if the layers that discovery announces are captured with the announced
shapes, equal to what always-copying hooks see, over two batches, and capturing leaves the logits as they were.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import timm
import torch
from torch import nn

from layerprobe.errors import LayerprobeError
from layerprobe.layers.capture import Capture
from layerprobe.layers.discovery import discover_layers
from layerprobe.models.zoo import build_model
from layerprobe.records import Layer

SIZES = (32, 48, 64, 96, 128, 160, 192, 224, 240, 256, 288, 320, 384, 448, 512)
TORCHVISION = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "googlenet", "inception_v3",
    "maxvit_t", "mnasnet0_5", "mobilenet_v2", "mobilenet_v3_small", "regnet_x_400mf", "regnet_y_400mf", "resnet18",
    "resnext50_32x4d", "shufflenet_v2_x0_5", "squeezenet1_1", "swin_t", "swin_v2_t", "vgg11", "vgg11_bn", "vit_b_32",
    "wide_resnet50_2",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What became of one model."""

    family: str
    model: str
    size: int = 0
    layers: tuple[Layer, ...] = ()
    failure: str = ""

    @property
    def counts(self) -> str:
        """Layers of each kind."""
        kinds = [layer.kind for layer in self.layers]
        found = ((kinds.count(kind), kind) for kind in ("activation", "block", "feature"))
        return ", ".join(f"{count} {kind}{'s' * (count > 1)}" for count, kind in found if count)


def smallest_model(module: str) -> str:
    """The model of a timm module with the fewest parameters, built without memory for them."""
    sizes: dict[str, int] = {}
    names = [name for name in timm.list_models(module=module) if not name.startswith("test_")]
    for name in names:
        try:
            with torch.device("meta"):
                sizes[name] = sum(parameter.numel() for parameter in timm.create_model(name).parameters())
        except (RuntimeError, NotImplementedError, ValueError, TypeError):
            continue
    return min(sizes, key=lambda name: sizes[name])


def try_model(family: str, name: str) -> Outcome:
    """Find the smallest image that a model takes, its layers, and compare captures with plain hooks."""
    reason = "takes no square image of " + ", ".join(map(str, SIZES)) + " pixels"
    for size in SIZES:
        try:
            model = build_model(name, num_classes=10, image_size=size, seed=0).eval()
            with torch.no_grad():
                model(torch.zeros(2, 3, size, size))
        except Exception as error:  # whatever a model raises at a size that it wasn't made for
            reason = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:100]}"
            continue
        layers: tuple[Layer, ...] = ()
        try:
            layers = discover_layers(model, (size, size))
            return Outcome(family, name, size, layers, check_capture(model, layers, size))
        except (LayerprobeError, RuntimeError, AttributeError, TypeError, ValueError) as error:
            return Outcome(family, name, size, layers, f"{type(error).__name__}: {error}")
    return Outcome(family, name, failure=f"cannot run: {reason}")


def check_capture(model: nn.Module, layers: tuple[Layer, ...], size: int) -> str:
    """What is wrong with the captures of three passes; empty: nothing."""
    names = [layer.name for layer in layers]
    images = [torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    with torch.no_grad(), Capture(model, layers) as capture:
        captured = [capture(batch) for batch in (images[0], images[1], images[0])]
    for number, batch in ((2, images[0]), (1, images[1])):
        with torch.no_grad():
            expected, logits = copies(model, names, batch)
        if not torch.equal(tensors(logits)[0], captured[number].logits):
            return "logits change under capture"
        for layer in layers:
            value = captured[number].features[layer.name]
            if tuple(value.shape) != (2, *layer.shape):
                return f"{layer.name} is {tuple(value.shape)}, announced (2, *{layer.shape})"
            if layer.name not in expected and "F." not in layer.name:
                return f"{layer.name} was not reached"
            if layer.name in expected and not torch.equal(value.flatten(), expected[layer.name].flatten()):
                return f"{layer.name} is not what the module put out"
            if not torch.isfinite(value).all():
                return f"{layer.name} is not finite"
    return ""


def copies(model: nn.Module, names: list[str], images: torch.Tensor) -> tuple[dict[str, torch.Tensor], Any]:
    """What modules put out and what enters them, copied by a hook each; and the logits. Functions have no hook."""
    seen: dict[str, torch.Tensor] = {}
    calls: Counter[str] = Counter()

    def keep(name: str, values: list[torch.Tensor]) -> None:
        name = name if calls[name] == 1 else f"{name}@{calls[name]}"
        if name in names and values:
            seen[name] = values[0].clone()

    def entering(module: nn.Module, inputs: Any) -> None:
        calls[paths[module]] += 1
        calls[f"{paths[module]}.input"] += 1
        keep(f"{paths[module]}.input", tensors(inputs))

    def leaving(module: nn.Module, inputs: Any, output: Any) -> None:
        made = [value for value in tensors(output) if not any(value is other for other in tensors(inputs))]
        rows = [value for value in made if len(value) == len(images)]
        keep(paths[module], rows or made or tensors(output))

    paths = {module: name for name, module in model.named_modules()}
    handles = [module.register_forward_pre_hook(entering) for module in paths]
    handles += [module.register_forward_hook(leaving) for module in paths]
    logits = model(images)
    for handle in handles:
        handle.remove()
    return seen, logits


def tensors(value: Any) -> list[torch.Tensor]:
    """All tensors of an input or output, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    items = value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else ()
    return [tensor for item in items for tensor in tensors(item)]


def page(outcomes: list[Outcome], seconds: float) -> str:
    """The documentation page."""
    lines = []
    for source in ("timm", "torchvision"):
        of_source = [outcome for outcome in outcomes if outcome.model.startswith(source)]
        passed = sum(not outcome.failure for outcome in of_source)
        share = 100 * passed / max(1, len(of_source))
        lines += [f"## {source}", "", f"{passed} of {len(of_source)} pass ({share:.1f} %).", ""]
        lines += ["| family | model | pixels | layers | result |", "|---|---|---|---|---|"]
        for outcome in of_source:
            name = outcome.model.partition(":")[2]
            result = outcome.failure or "pass"
            lines.append(f"| {outcome.family} | {name} | {outcome.size or '-'} | {outcome.counts} | {result} |")
        lines.append("")
    versions = f"timm {timm.__version__}, torch {str(torch.__version__).partition('+')[0]}"
    return HEAD.format(versions=versions) + "\n".join(lines)


HEAD = """# Architectures

One model of every timm module and of every torchvision family: the one with the fewest parameters, with random weights
and ten classes, at the smallest square image that it takes. A model passes if the layers that discovery announces are
captured with the announced shapes and one row per image, finite, equal to what always-copying hooks see, over two
different batches, and if capturing leaves the logits as they were. (Hooks don't see functions such as `F.relu`; the
tests compare those with torchvision's graph and with forward passes written by hand.) The counts follow from
[the rule](statistics.md#what-counts-as-a-layer). Made by `benchmarks/architectures.py` with {versions}.

How features lie in space, in maps, grids of patches or sequences, is
[read from what a network declares](models-and-data.md#tokens-and-maps). In the tests a part of the image is changed,
and the features that change most must lie there.

Networks without a classifier, and towers of open_clip and transformers, are
[read alike](models-and-data.md#networks-without-a-classifier). `benchmarks/teachers.py` distils from six kinds of them
into four families of students.

"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="the page to write; default: print it")
    parser.add_argument("--representatives", type=Path, help="a JSON file {module: model} that is made or read")
    parser.add_argument("--only", nargs="*", help="these timm modules or torchvision models only")
    arguments = parser.parse_args()
    warnings.filterwarnings("ignore")
    cache = arguments.representatives
    chosen = json.loads(cache.read_text()) if cache and cache.exists() else {}
    outcomes, start = [], time.perf_counter()
    modules = [module for module in timm.list_modules() if not arguments.only or module in arguments.only]
    for module in modules:
        chosen[module] = chosen.get(module) or smallest_model(module)
        outcomes.append(report(try_model(module, f"timm:{chosen[module]}")))
    if cache:
        cache.write_text(json.dumps(chosen, indent=1))
    for name in TORCHVISION:
        if not arguments.only or name in arguments.only:
            outcomes.append(report(try_model(name, f"torchvision:{name}")))
    text = page(outcomes, time.perf_counter() - start)
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    else:
        print(text)


def report(outcome: Outcome) -> Outcome:
    print(f"{outcome.family:28} {outcome.model:45} {outcome.size:4} {outcome.counts:45} {outcome.failure}", flush=True)
    return outcome


if __name__ == "__main__":
    main()
