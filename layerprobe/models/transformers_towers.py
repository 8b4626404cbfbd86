"""Vision towers of transformers: ``transformers:NAME``, a folder that ``save_pretrained`` wrote or a name on the hub.

No code of a repository is run, and weights are read from safetensors alone. Of a model with several towers the one of
images is taken. What it returns is its pooled output, or its last hidden state where it pools nothing.
"""

from __future__ import annotations

import inspect
import json
import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from layerprobe.errors import LayerprobeError, first_of, shown
from layerprobe.models.classifier import declare_no_classifier
from layerprobe.models.extras import import_extra, refuse_classes
from layerprobe.models.model_input import ModelInput
from layerprobe.models.published import fetching_weights
from layerprobe.plugins import one_line
from layerprobe.settings.base import MOST_PIXELS, SettingsError

_log = logging.getLogger(__name__)

_PIXELS = "pixel_values"
_ATTENTION = ("eager", "sdpa")
"""What transformers has itself of a configuration's ``attn_implementation``."""
_PREPROCESSING = ("preprocessor_config.json", "processor_config.json")


def build_tower(short: str, num_classes: int | None, image_size: int | None, pretrained: bool) -> nn.Module:
    """Build the vision tower of a model.

    Args:
        short: the folder, or the name on the hub.
        num_classes: None or 0.
        image_size: side of the square images; None keeps the model's own. For another one position embeddings are
            interpolated in every pass.
        pretrained: whether its weights are loaded; else it has random ones.

    Raises:
        LayerprobeError: if transformers isn't installed, there is no such model or no tower of images in it, or its
            weights can't be read as safetensors.
    """
    name, library = f"transformers:{short}", _library()
    refuse_classes(name, num_classes)
    if (short.startswith((".", "/", "~")) or short.count("/") > 1) and not Path(short).is_dir():
        raise SettingsError(f"there is no folder {short!r} for {name!r}; save_pretrained writes one")
    with _quietly(library), _explained(name):
        config = library.AutoConfig.from_pretrained(short, trust_remote_code=False)
        _refuse_kernels(config, name)
        whole = (
            _load(short, name, library)
            if pretrained
            else library.AutoModel.from_config(config, trust_remote_code=False, dtype=torch.float32)
        )
    tower = _tower_of(whole, library, name)
    _prepare(tower, name, image_size)
    declare_no_classifier(tower)
    return tower


def has_weights(short: str) -> bool:
    """Whether weights are published: a folder or a name on a hub has its own, or says so when they are read."""
    return True


def tower_input(short: str, model: nn.Module, pretrained: bool = False) -> ModelInput:
    """The input that a tower asks for, with whatever weights, as the configuration of its image processor says."""
    size: Any = getattr(getattr(model, "config", None), "image_size", None)
    own = None if size is None else _pair(size)
    values = _preprocessing(short)
    if not values:
        _log.info("transformers:%s says nothing of how images are prepared", short, extra={"once": True})
        return ModelInput(image_size=own, source="the model's configuration" if own else "")
    try:
        return _described_input(values, own)
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise LayerprobeError(
            f"transformers:{short}: the configuration of its image processor ({' or '.join(_PREPROCESSING)}) is "
            f"malformed: {one_line(error)}; get it anew, or take it away and say the preprocessing by options"
        ) from error


def _described_input(values: Mapping[str, Any], own: tuple[int, int] | None) -> ModelInput:
    """The input that the configuration of an image processor describes; ``own``: the size that the model's own does."""
    target = {} if values.get("size") is None else values["size"]
    crop = values.get("crop_size") if values.get("do_center_crop") else None
    edge = target if isinstance(target, int) else target.get("shortest_edge")
    sides = _sides(crop) or _sides(target) or own
    for pixels in (*(sides or ()), *([edge] if edge is not None else [])):
        if not isinstance(pixels, int) or not 1 <= pixels <= MOST_PIXELS:
            raise ValueError(f"a size is 1 to {MOST_PIXELS:,} pixels, not {shown(pixels)}")
    normalized = values.get("do_normalize", True)
    mean, std = (values.get(key) if normalized else None for key in ("image_mean", "image_std"))
    if any(not math.isfinite(value) for value in (*(mean or ()), *(std or ()))) or 0 in (std or ()):
        raise ValueError(f"mean and std are finite numbers, and no std is 0, not {shown(mean)} and {shown(std)}")
    filter = Image.Resampling(values["resample"]).name.lower() if "resample" in values else "bilinear"
    return ModelInput(
        image_size=sides,
        mean=(0.0,) * 3 if mean is None else tuple(map(float, mean)),
        std=(1.0,) * 3 if std is None else tuple(map(float, std)),
        resize=max(edge, *sides) if edge and sides and not _is_exact(target) else None,
        interpolation=filter,
        source="the image processor's configuration",
    )


def _refuse_kernels(config: Any, name: str) -> None:
    """Refuse a configuration, or a part of one, whose attention is code that transformers would fetch from the hub."""
    parts = [config, *(getattr(config, key, None) for key in config.sub_configs)]
    for attention in (getattr(part, "_attn_implementation", None) for part in parts):
        if attention not in (None, *_ATTENTION):
            raise SettingsError(
                f"{name}: its configuration asks for the attention {shown(attention)}, which may be code of the hub, "
                f"and is not run; take it out of config.json, or put {' or '.join(_ATTENTION)} in its place"
            )


def _load(short: str, name: str, library: Any) -> Any:
    """The whole model with its weights; what of it isn't in the file is said, or refused."""
    folder = Path(short)
    if folder.is_dir() and not any(folder.glob("*.safetensors")):
        raise SettingsError(
            f"{name}: the folder has no weights of safetensors, and pickles are not read; write them with "
            "save_pretrained, or give <weights> random"
        )
    whole, about = library.AutoModel.from_pretrained(
        short, trust_remote_code=False, use_safetensors=True, dtype=torch.float32, output_loading_info=True
    )
    missing = sorted(about["missing_keys"])
    if lost := [key for key in missing if "pooler." not in key]:
        raise SettingsError(f"{name}: its weights lack {first_of(lost)}; get them anew")
    if missing:
        # A pooler that the file doesn't have would be random: such a model is used without it.
        owner = whole.get_submodule(missing[0].partition("pooler.")[0].rstrip("."))
        owner.pooler = None
        _log.info("%s: its pooler has no weights, and is left out", name, extra={"once": True})
    if left := sorted(about["unexpected_keys"]):
        _log.info("%s: left out: %s", name, first_of(left), extra={"once": True})
    return whole


def _tower_of(whole: Any, library: Any, name: str) -> nn.Module:
    """The part of a model that reads images: itself, or of a model of several towers the outermost one that does."""
    parts = [part for part in whole.modules() if isinstance(part, library.PreTrainedModel)]
    several = hasattr(whole.config, "vision_config")
    towers = [part for part in parts if part.main_input_name == _PIXELS and not (several and part is whole)]
    if not towers:
        raise LayerprobeError(f"{name} ({type(whole).__name__}) has no tower that reads images")
    return towers[0]  # type: ignore[no-any-return]


def _prepare(tower: nn.Module, name: str, image_size: int | None) -> None:
    """Have a tower called with images alone return one tensor.

    Masked autoencoders drop and shuffle patches by noise; here they keep all, in their order.
    """
    config: Any = tower.config
    takes = inspect.signature(tower.forward).parameters
    own = getattr(config, "image_size", None)
    given: dict[str, Any] = {}
    if image_size is not None and own is not None and _pair(own) != (image_size, image_size):
        if "interpolate_pos_encoding" in takes:
            given["interpolate_pos_encoding"] = True
        _log.info("%s reads images of %d pixels, and was made for %s", name, image_size, own, extra={"once": True})
    masked = "noise" in takes and getattr(config, "mask_ratio", None) is not None
    if masked:
        config.mask_ratio = 0.0

    def enter(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        order = {"noise": _in_order(args[0], config.patch_size)} if masked and args else {}
        return args, {**given, **order, **kwargs}

    tower.register_forward_pre_hook(enter, with_kwargs=True)
    tower.register_forward_hook(_features)


def _features(module: nn.Module, args: tuple[Any, ...], output: Any) -> Tensor:
    """What a tower's output holds of features."""
    if isinstance(output, Tensor):
        return output
    pooled = getattr(output, "pooler_output", None)
    found: Tensor = output[0] if pooled is None else pooled
    return found


def _in_order(images: Tensor, patch_size: int) -> Tensor:
    """Noise that grows from patch to patch, (images, patches), by which sorting leaves patches where they are."""
    height, width = _pair(patch_size)
    patches = (images.shape[2] // height) * (images.shape[3] // width)
    return torch.arange(patches, dtype=torch.float32, device=images.device).expand(len(images), -1)


def _preprocessing(short: str) -> Mapping[str, Any]:
    """The configuration of a model's image processor, which is read and not run; empty: there is none."""
    library = _library()
    for file in _PREPROCESSING:
        try:
            path = library.utils.cached_file(short, file, _raise_exceptions_for_missing_entries=False)
        except OSError:
            continue
        if path is not None:
            try:
                values = json.loads(Path(path).read_text(encoding="utf-8"))
            except (OSError, ValueError) as error:
                raise LayerprobeError(f"{path} can't be read as JSON: {one_line(error)}") from error
            found = values.get("image_processor", values) if isinstance(values, Mapping) else None
            if not isinstance(found, Mapping):
                raise LayerprobeError(f"{path} describes no image processor; get it anew")
            return found
    return {}


def _sides(size: Any) -> tuple[int, int] | None:
    """Height and width of what a configuration says of a size; None: it doesn't say both."""
    if isinstance(size, int):
        return size, size
    size = size or {}
    if _is_exact(size):
        return int(size["height"]), int(size["width"])
    return (int(size["shortest_edge"]),) * 2 if "shortest_edge" in size and "longest_edge" not in size else None


def _is_exact(size: Any) -> bool:
    return isinstance(size, Mapping) and {"height", "width"} <= size.keys()


def _pair(size: Any) -> tuple[int, int]:
    return (int(size[0]), int(size[1])) if isinstance(size, (tuple, list)) else (int(size), int(size))


def _library() -> Any:
    return import_extra("transformers", "hf", "a model of transformers")


@contextmanager
def _explained(name: str) -> Iterator[None]:
    """One line where transformers can't make a model, or its hub can't be reached."""
    if Path(name.partition(":")[2]).is_dir():
        try:
            yield
        except LayerprobeError:
            raise
        except Exception as error:  # whatever a damaged folder makes transformers raise
            raise SettingsError(f"{name} can't be loaded: {one_line(error)}") from error
        return
    with fetching_weights(name):
        yield


@contextmanager
def _quietly(library: Any) -> Iterator[None]:
    """Without transformers' own progress bars and warnings: what matters of them is said here."""
    say = library.utils.logging
    before = say.get_verbosity()
    bars = say.is_progress_bar_enabled()
    say.set_verbosity_error()
    say.disable_progress_bar()
    try:
        yield
    finally:
        say.set_verbosity(before)
        if bars:
            say.enable_progress_bar()
