"""Where a network's features lie in space: what it declares, and what follows from that for each layer."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from torch import nn

from layerprobe.errors import first_of
from layerprobe.records import Layer
from layerprobe.records.layout import GRID, MAP, SEQUENCE, VECTOR, Layout, Shape
from layerprobe.settings.base import SettingsError

_log = logging.getLogger(__name__)

_CLASS_TOKENS = ("cls_token", "class_token", "class_embedding", "cls_embedding")
_EXTRA_TOKENS = (
    *_CLASS_TOKENS, "dist_token", "distillation_token", "reg_token", "reg_tokens", "register_token", "register_tokens",
    "storage_tokens",
)  # fmt: skip
"""Names of the parameters (1, tokens, width) or (width,) that timm, torchvision and others keep extra tokens in."""
_MOST_EXTRA = 17
"""Extra tokens that are looked for where a network declares none."""


@dataclass(frozen=True)
class Space:
    """What a network says of the places of its features.

    Attributes:
        image_size: height and width of its input in pixels.
        prefix: extra tokens before those of the patches: the class token, which comes first, and registers.
        has_class_token: whether there is a class token.
        grid: rows and columns of its patches, where it declares them.
        channels_last: whether its maps have the channels last, where it declares that.
        by_rows: whether patches lie row by row.
    """

    image_size: tuple[int, int]
    prefix: int = 0
    has_class_token: bool = False
    grid: tuple[int, int] | None = None
    channels_last: bool | None = None
    by_rows: bool = True

    def layout(self, shape: tuple[int, ...], folded: bool = False, channels_last: bool | None = None) -> Layout:
        """The layout of a layer.

        Args:
            shape: of one image's features.
            folded: whether the first axis counts parts of the image, and the second the tokens of each.
            channels_last: what the modules around the layer say of its axes; None: nothing.
        """
        if len(shape) == 1:
            return Layout(VECTOR)
        if len(shape) == 2:
            return self._tokens(shape[0])
        last = True if folded else self._has_channels_last(shape, channels_last)
        sides = shape[:-1] if last else shape[1:]
        # Channels-first maps come from convolutions. What else has three axes may be tokens in windows.
        if folded or len(sides) != 2 or (last and not self._may_be_map(sides[0], sides[1])):
            return Layout(SEQUENCE, 1, math.prod(sides), channels_last=last)
        return Layout(MAP, sides[0], sides[1], channels_last=last)

    def grid_of(self, count: int) -> tuple[int, int] | None:
        """Rows and columns of ``count`` patches; None: they are no grid.

        It is the declared grid, or that of square patches, h / w = H / W of the declared grid or of the image. Where
        sides were rounded, it is that of patches of a whole number of pixels, if there is one such grid alone.

        Examples:
            >>> Space((32, 32)).grid_of(64), Space((32, 64)).grid_of(32), Space((32, 32)).grid_of(65)
            ((8, 8), (4, 8), None)
        """
        if not self.by_rows:
            return None
        if self.grid and math.prod(self.grid) == count:
            return self.grid
        for height, width in filter(None, (self.grid, self.image_size)):
            rows = math.isqrt(count * height // width) if count > 0 else 0
            if rows and rows * rows * width == count * height and count % rows == 0:
                return rows, count // rows
            rounded = {sides for sides in _rounded(height, width) if math.prod(sides) == count}
            if len(rounded) == 1:
                return rounded.pop()
        return None

    def _tokens(self, count: int) -> Layout:
        if count == self.prefix:
            # Extra tokens alone, such as the class token in CaiT's last blocks: there are no patches to keep them from.
            return Layout(GRID if count == 1 else SEQUENCE, 1, count, channels_last=True)
        # In CaiT, for example, the class token joins only the last blocks.
        for prefix in dict.fromkeys((self.prefix, 0)):
            if grid := self.grid_of(count - prefix):
                return Layout(GRID, *grid, prefix, self.has_class_token and prefix > 0, channels_last=True)
        prefix = self.prefix if self.prefix < count else 0
        return Layout(SEQUENCE, 1, count - prefix, prefix, self.has_class_token and prefix > 0, channels_last=True)

    def _has_channels_last(self, shape: tuple[int, ...], told: bool | None) -> bool:
        if told is not None or self.channels_last is not None:
            return bool(self.channels_last if told is None else told)
        return len(shape) == 3 and self._may_be_map(*shape[:2]) and not self._may_be_map(*shape[1:])

    def _may_be_map(self, height: int, width: int) -> bool:
        """Whether these are the sides of a map: those of the image, or the declared grid, divided and rounded alike."""
        for rows, columns in filter(None, (self.image_size, self.grid)):
            if rows == columns:
                if height == width:
                    return True
            elif (height - 1) * columns < (width + 1) * rows and (width - 1) * rows < (height + 1) * columns:
                return True
        return False


def _rounded(height: int, width: int) -> Iterator[tuple[int, int]]:
    for pixels in range(1, max(height, width) + 1):
        yield -(-height // pixels), -(-width // pixels)
        yield height // pixels, width // pixels


def without_windows(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """Layers in which windows are no maps.

    NesT keeps (windows, tokens, channels), and its numbers may look like the sides of a map. Where one layer's don't,
    none of the network's are believed.
    """
    apart = any(len(layer.shape) == 3 and not layer.folded and layer.layout.kind == SEQUENCE for layer in layers)
    return tuple(_without_rows(layer) if apart else layer for layer in layers)


def _without_rows(layer: Layer) -> Layer:
    layout = layer.layout
    if layout.kind != MAP or not layout.channels_last:
        return layer
    return replace(layer, shape=Shape(layer.shape, Layout(SEQUENCE, 1, layout.positions, channels_last=True)))


def check_prefix(layers: Sequence[Layer], prefix_tokens: int | None) -> None:
    """Refuse a number of extra tokens, as the user says it, that no layer has.

    Raises:
        SettingsError: if patches lie behind so many tokens in none of the layers, and none has these tokens alone.
    """
    counts = {layer.layout.positions for layer in layers if layer.layout.is_tokens}
    alone = prefix_tokens in counts and max(counts) > prefix_tokens  # as in CaiT's last blocks
    if not prefix_tokens or alone or any(layer.layout.prefix == prefix_tokens for layer in layers):
        return
    raise SettingsError(
        f"<prefix_tokens> {prefix_tokens}: no layer of the network has so many tokens before those of its patches; "
        "leave it out, or give the number that it has"
    )


def say_unplaced(layers: Sequence[Layer], space: Space, prefix_tokens: int | None) -> None:
    """Say of tokens that would form a grid without some extra ones that the network declares none of these.

    Args:
        layers: of the network.
        space: what it declares.
        prefix_tokens: how many extra tokens there are, as the user says it; None: as the network declares.
    """
    if space.prefix or prefix_tokens is not None or not space.by_rows:
        return
    found: dict[tuple[int, int], list[str]] = {}
    for layer in layers:
        if layer.layout.kind == SEQUENCE and len(layer.shape) == 2 and layer.shape[0] > 1:
            extra = next((n for n in range(1, _MOST_EXTRA + 1) if space.grid_of(layer.shape[0] - n)), 0)
            if extra:
                found.setdefault((layer.shape[0], extra), []).append(layer.name)
    for (count, extra), names in found.items():
        rows, columns = space.grid_of(count - extra) or (0, 0)
        _log.warning(
            "the %d tokens of %s are no grid of patches, and the model declares no class token or registers: they are "
            "read as tokens without places; if %d of them stand before %dx%d patches, give --prefix-tokens %d, or of a "
            "teacher --teacher-prefix-tokens",
            count, first_of(names), extra, rows, columns, extra,
        )  # fmt: skip


def read_space(model: nn.Module, image_size: tuple[int, int], prefix_tokens: int | None = None) -> Space:
    """Read what a model declares off its attributes.

    Extra tokens are its attribute ``num_prefix_tokens`` (timm's word), else its parameters that are called like class,
    distillation and register tokens. The class token is one of these, or what ``has_class_token`` says. The grid of
    patches is ``grid_size``, of the model or of its ``patch_embed``. ``output_fmt`` is ``NHWC`` where the channels of
    maps come last. A model with a ``reroll``, as Hiera has it, keeps its patches in another order than row by row.

    Args:
        model: any image classifier.
        image_size: height and width of its input in pixels.
        prefix_tokens: how many extra tokens there are, as the user says it, the class token first; None: as the model
            declares.
    """
    tokens = [(name.rpartition(".")[2], parameter) for name, parameter in model.named_parameters()]
    counted = sum(
        parameter.shape[-2] if parameter.ndim > 1 else 1 for name, parameter in tokens if name in _EXTRA_TOKENS
    )
    attribute = getattr(model, "num_prefix_tokens", None)
    declared = attribute if isinstance(attribute, int) else counted
    named = getattr(model, "has_class_token", any(name in _CLASS_TOKENS for name, _ in tokens))
    if prefix_tokens not in (None, declared) and declared:
        noun = "token" if declared == 1 else "tokens"
        _log.warning("the model declares %d extra %s; it is read with %d, as asked", declared, noun, prefix_tokens)
    prefix = declared if prefix_tokens is None else prefix_tokens
    own = prefix_tokens is not None and not declared  # then the user's word is all that there is
    return Space(
        image_size=image_size,
        prefix=prefix,
        has_class_token=prefix > 0 and (own or bool(named)),
        grid=_pair(getattr(model, "grid_size", None)) or _pair(getattr(_patches(model), "grid_size", None)),
        channels_last={"NHWC": True, "NCHW": False}.get(str(getattr(model, "output_fmt", ""))),
        by_rows=not hasattr(model, "reroll"),
    )


def _patches(model: nn.Module) -> object:
    return getattr(model, "patch_embed", None)


def _pair(value: object) -> tuple[int, int] | None:
    if isinstance(value, (tuple, list)) and len(value) == 2 and all(isinstance(side, int) for side in value):
        return value[0], value[1]
    return None
