"""Which network."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from layerprobe.settings.base import ClassCount, Settings
from layerprobe.settings.flags import Flag

PRETRAINED, RANDOM, AS_BUILT = "pretrained", "random", "as built"
"""Where weights come from, when it isn't a file."""
DRAWN = (RANDOM, AS_BUILT)
"""Of these, weights that are drawn from a seed, or may be."""


class ModelSettings(Settings):
    """A network as the user names it. In YAML and Python its name alone may stand for it."""

    panel: ClassVar[str] = "Model"

    name: Annotated[str, Field(min_length=1), Flag(metavar="NAME")]
    """timm:NAME, torchvision:NAME, cifar:NAME, open_clip:NAME, transformers:NAME or FILE.py:callable."""
    weights: Annotated[str | None, Flag(default="pretrained, where there are published weights")] = None
    """The weights: a file (.safetensors, or one that torch.save wrote, such as .pt or .pth), 'pretrained' for those of
    the model's hub, or 'random'."""
    weights_key: Annotated[str | None, Field(min_length=1), Flag(metavar="KEY", default="what fits the network")] = None
    """The part of the weights file to take if several fit the network: a key such as state_dict_ema, or a prefix of the
    names such as module.encoder_q."""
    adapt: Literal["resample", "average"] | None = None
    """Bring weights of another form of the network to this one, if the network is trained: parts of the classifier and
    the stem that have another shape start from random weights, and position embeddings are interpolated to the
    network's grid. The kernels of patches are resampled, or averaged as in the paper."""
    num_classes: Annotated[ClassCount | None, Flag(default="as in the weights, or as the data")] = None
    """The number of classes of the network's classifier. With 0 the network has no classifier."""
    prefix_tokens: Annotated[int | None, Field(ge=0), Flag(default="as many as the network declares")] = None
    """The number of tokens before the patch tokens: the class token, which comes first, and registers."""
    weights_sha256: Annotated[str | None, Flag(none=True)] = None
    """SHA-256 of the weights that are expected; other weights are refused."""

    @model_validator(mode="before")
    @classmethod
    def _from_name(cls, values: Any) -> Any:
        return {"name": values} if isinstance(values, str) else values
