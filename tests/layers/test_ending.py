"""How networks end: what their classifiers read."""

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from layerprobe.errors import LayerprobeError
from layerprobe.layers.ending import Ending, find_ending
from layerprobe.models.zoo import build_model


@pytest.mark.parametrize(
    ("name", "size", "ending"),
    [
        ("cifar:resnet20", 32, Ending("linear", "layer3", (64, 8, 8), False)),
        ("cifar:mobilenetv2", 32, Ending("classifier.1", "features", (1280, 4, 4), False)),
        ("cifar:vit-small", 32, Ending("heads.head", "", (192,), True)),
        ("timm:resnet18", 64, Ending("fc", "layer4", (512, 2, 2), False)),
        ("timm:densenet121", 64, Ending("classifier", "features", (1024, 2, 2), False)),
        ("timm:efficientnet_b0", 64, Ending("classifier", "bn2", (1280, 2, 2), True)),
        ("timm:swin_tiny_patch4_window7_224", 224, Ending("head.fc", "", (768,), True)),
        ("torchvision:mobilenet_v2", 64, Ending("classifier.1", "features", (1280, 2, 2), False)),
        ("torchvision:vgg11", 64, Ending("classifier.6", "", (4096,), False)),
    ],
)
def test_endings_of_architectures(name: str, size: int, ending: Ending) -> None:
    torch.manual_seed(0)
    assert find_ending(build_model(name, num_classes=10, image_size=size, seed=0), (size, size)) == ending


class Twice(nn.Module):
    """One activation is called twice; the classifier reads what its second call gave, averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.act = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 3), nn.ReLU()
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.second(self.act(self.first(x)))).mean(dim=(2, 3)))


def test_a_module_that_is_called_twice_has_no_map_of_its_own() -> None:
    assert find_ending(Twice(), (8, 8)) == Ending("head", "", (6,), False)


def test_the_network_is_left_as_it_was() -> None:
    network = Twice().train()
    find_ending(network, (8, 8))
    assert network.training and not network.act._forward_hooks


def test_a_classifier_of_another_kind_is_refused() -> None:
    network = torchvision.models.squeezenet1_1(num_classes=10)
    with pytest.raises(LayerprobeError, match="the logits don't come straight from one linear layer"):
        find_ending(network, (64, 64))
    both = timm.create_model("deit_tiny_distilled_patch16_224", num_classes=10)
    with pytest.raises(LayerprobeError, match="straight from one linear"):
        find_ending(both, (224, 224))
