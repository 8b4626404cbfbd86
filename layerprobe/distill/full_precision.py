"""What compares images with each other, in float32 whatever the networks compute in."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
from torch import Tensor

P = ParamSpec("P")
T = TypeVar("T")


def in_full_precision(function: Callable[P, T]) -> Callable[P, T]:
    """Have a function of tensors computed in float32: without autocast, and of half precision made float32 first.

    Autocast is for the networks. Inner products of features would be rounded to 8 or 11 bits by it, or overflow in
    float16, which ends at 65,504; and differences of similarities, or their exponentials, are small beside that.

    Args:
        function: takes tensors, or sequences of tensors, among its arguments. What is float64 stays so.

    Examples:
        >>> import torch
        >>> gram = in_full_precision(lambda features: features @ features.T)
        >>> gram(torch.full((1, 4), 300.0, dtype=torch.float16))
        tensor([[360000.]])
    """

    @wraps(function)
    def computed(*args: P.args, **kwargs: P.kwargs) -> T:
        found: list[torch.device] = []

        def full(value: Any) -> Any:
            if isinstance(value, Tensor):
                found.append(value.device)
                return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value
            return [full(one) for one in value] if isinstance(value, (list, tuple)) else value

        whole, named = [full(one) for one in args], {name: full(one) for name, one in kwargs.items()}
        with torch.autocast(found[0].type, enabled=False):
            return function(*whole, **named)

    return computed
