"""Where work is done, and in how many processes: fields that several groups of settings share."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field

from layerprobe.settings.base import Number, Settings, Whole
from layerprobe.settings.flags import Flag


def _device(name: str) -> str:
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise ValueError("one of auto, cpu, cuda, cuda:N, mps")
    return name


Device = Annotated[str, AfterValidator(_device), Flag(panel="Machine", also=("auto", "cpu", "cuda", "cuda:N", "mps"))]
Workers = Annotated[Whole, Field(ge=0), Flag(panel="Machine")]

BYTES_PER_GB = 1e9
Gigabytes = Annotated[
    Annotated[Number, Field(ge=0.001)] | None, Flag(panel="Machine", metavar="GB", default="half of what is free")
]


class DeviceSettings(Settings):
    """Settings of what runs on a device."""

    device: Device = "auto"
    """The device to compute on; auto takes a GPU if there is one."""
