"""How a network ends: the last map, its average, and the linear classifier that reads it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from layerprobe.errors import LayerprobeError
from layerprobe.layers.logits import pick_logits


@dataclass(frozen=True)
class Ending:
    """How a network ends.

    Attributes:
        classifier: dotted path of the linear module that gives the logits.
        last_map: dotted path of the module whose map the classifier reads, averaged over positions; empty: it reads
            something else, e.g. a class token or the vector inside a multilayer perceptron.
        shape: of that map for one image, (channels, height, width), or of the vector that is read, (width,).
        signed: whether the map, or the vector, has negative values.
    """

    classifier: str
    last_map: str
    shape: tuple[int, ...]
    signed: bool

    @property
    def layer(self) -> str:
        """The name of the layer that holds the map or the vector."""
        return self.last_map or f"{self.classifier}.input"


class _Pass:
    """What a forward pass showed: maps by module, and what enters and leaves linear modules."""

    def __init__(self, network: nn.Module, images: Tensor) -> None:
        self.maps: dict[str, Tensor] = {}
        self.linear: dict[str, tuple[Tensor, Tensor]] = {}
        self.calls: Counter[str] = Counter()
        handles = [module.register_forward_hook(self._keep(name)) for name, module in network.named_modules() if name]
        try:
            with torch.no_grad():
                output = network(images)
        finally:
            for handle in handles:
                handle.remove()
        self.logits = pick_logits(network, images, output)

    def _keep(self, name: str) -> Callable[[nn.Module, tuple[object, ...], object], None]:
        def hook(module: nn.Module, inputs: tuple[object, ...], output: object) -> None:
            self.calls[name] += 1
            if not isinstance(output, Tensor):
                return
            if isinstance(module, nn.Linear) and isinstance(inputs[0], Tensor):
                self.linear[name] = inputs[0], output
            elif output.ndim == 4:
                self.maps[name] = output

        return hook


def find_ending(network: nn.Module, image_size: tuple[int, int]) -> Ending:
    """Look at a forward pass of two random images.

    Args:
        network: an image classifier; it is run in evaluation mode and left as it was.
        image_size: height and width of its input in pixels.

    Raises:
        LayerprobeError: if the logits don't come straight from a linear module that is called once.
    """
    images = torch.randn(2, 3, *image_size, generator=torch.Generator().manual_seed(0))
    training = network.training
    seen = _Pass(network.eval(), images)
    network.train(training)
    found = [(name, read) for name, (read, given) in seen.linear.items() if given is seen.logits and read.ndim == 2]
    if not found or seen.calls[found[-1][0]] > 1:
        raise LayerprobeError("the logits don't come straight from one linear layer")
    classifier, read = found[-1]
    # The outermost module that puts the map out was left last; one that is called twice puts out other maps, too.
    for name, output in reversed(seen.maps.items()):
        if seen.calls[name] == 1 and _averages_to(output, read):
            return Ending(classifier, name, tuple(output.shape[1:]), bool((output < 0).any()))
    return Ending(classifier, "", tuple(read.shape[1:]), bool((read < 0).any()))


def _averages_to(output: Tensor, read: Tensor) -> bool:
    alike = output.shape[:2] == read.shape and output.shape[2] * output.shape[3] > 1
    return alike and torch.allclose(output.mean(dim=(2, 3)), read, rtol=1e-3, atol=1e-5)
