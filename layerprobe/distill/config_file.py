"""Configurations as plain values: what ``config.yaml`` holds, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

import yaml

from layerprobe.distill.alignments.options import Alignment
from layerprobe.distill.config import DistillConfig, TrainConfig, Training
from layerprobe.distill.mappings import is_table
from layerprobe.errors import LayerprobeError, closest
from layerprobe.networks import DataSpec, ModelSpec
from layerprobe.records import RANKING_FORMAT

Values = dict[str, Any]
Spec = TypeVar("Spec", ModelSpec, DataSpec, Alignment, Training)

_PARTS: Mapping[str, type] = {
    "model": ModelSpec,
    "teacher": ModelSpec,
    "student": ModelSpec,
    "data": DataSpec,
    "alignment": Alignment,
    "training": Training,
}
INFORMATION = ("preprocessing", "recipe", "processes", "batch_statistics", "versions", "layers_from", "pairs", "ending")
"""What a run says about itself beside its configuration; a rerun finds it anew."""
_HASH = "weights_sha256"
_NOT_IN_FILE = ("output", "overwrite", "resume")
_RENAMED = {"layers": "teacher_layers"}
_LAYERS = ("teacher_layers", "student_layers")
_WORDS: Mapping[Any, str] = {
    bool: "true or false", int: "a whole number", float: "a number", str: "a word", Path: "a path", tuple: "a list",
}  # fmt: skip


def to_values(config: DistillConfig | TrainConfig) -> Values:
    """A configuration as plain values, ready for YAML, without where it is written to."""
    values = {key: value for key, value in asdict(config).items() if key not in _NOT_IN_FILE}
    named = {_RENAMED.get(key, key): value for key, value in values.items()}
    return {"command": "distill" if isinstance(config, DistillConfig) else "train", **_plain(named)}


def read_values(path: Path, command: str) -> Values:
    """The values of a configuration file.

    Raises:
        LayerprobeError: if it isn't there, isn't YAML, or is another command's.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise LayerprobeError(f"no configuration at {path}; --config names the config.yaml of a run") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise LayerprobeError(f"{path} is not YAML ({reason}); --config names the config.yaml of a run") from None
    if not isinstance(values, dict):
        raise LayerprobeError(f"{path} holds no keys; --config names the config.yaml of a run")
    if values.get("format") == RANKING_FORMAT:
        raise LayerprobeError(f"{path} is a ranking; --layers takes it, and --config the config.yaml of a run")
    if values.get("command", command) != command:
        raise LayerprobeError(f"{path} is of `layerprobe {values['command']}`; run that, or name another --config")
    return values


def read_config(path: Path, like: DistillConfig | TrainConfig) -> DistillConfig | TrainConfig:
    """The configuration in a file, which is to be of the same command as another one.

    Raises:
        LayerprobeError: as ``read_values``, or if the values are no configuration.
    """
    if isinstance(like, DistillConfig):
        return distill_config(read_values(path, "distill"), path.parent, overwrite=False, resume=True)
    return train_config(read_values(path, "train"), path.parent, overwrite=False, resume=True)


def merge(values: Mapping[str, Any], over: Mapping[str, Any]) -> Values:
    """Values with others laid over them, part by part.

    A model's hash goes where its name or weights are replaced, and layers where a table of pairs names others.
    """
    merged = dict(values)
    for key, value in over.items():
        if isinstance(value, Mapping):
            part = dict(merged.get(key) or {})
            if {"name", "weights"} & {name for name in value if value[name] != part.get(name)}:
                part.pop(_HASH, None)
            merged[key] = {**part, **value}
        else:
            merged[key] = value
    if is_table(str(over.get("alignment", {}).get("mapping", ""))):
        for key in {"teacher_layers", "student_layers"} - set(over):
            merged.pop(key, None)
    return merged


def distill_config(values: Mapping[str, Any], output: Path, overwrite: bool, resume: bool) -> DistillConfig:
    """A configuration from plain values.

    Raises:
        LayerprobeError: if a key is unknown or missing, or a value is of another type.
    """
    given = _parts({key: value for key, value in values.items() if key not in _LAYERS}, DistillConfig)
    chosen = {key: _layers(key, values.get(key)) for key in _LAYERS}
    given["layers"] = ",".join(chosen["teacher_layers"] or ()) or None
    given["student_layers"] = tuple(chosen["student_layers"] or ()) or None
    given.setdefault("method", "feature-only")
    _require(given, {"teacher": "--teacher", "student": "--student", "data": "--data"}, output if resume else None)
    return DistillConfig(**given, output=output, overwrite=overwrite, resume=resume)


def train_config(values: Mapping[str, Any], output: Path, overwrite: bool, resume: bool) -> TrainConfig:
    """A configuration from plain values.

    Raises:
        LayerprobeError: if a key is unknown or missing, or a value is of another type.
    """
    given = _parts(values, TrainConfig)
    _require(given, {"model": "--model", "data": "--data"}, output if resume else None)
    return TrainConfig(**given, output=output, overwrite=overwrite, resume=resume)


def _parts(values: Mapping[str, Any], kind: type) -> Values:
    hints = get_type_hints(kind)
    known = [_RENAMED.get(field.name, field.name) for field in fields(kind) if field.name not in _NOT_IN_FILE]
    _check_keys(values, [*known, "command", *INFORMATION], "")
    given: Values = {}
    for key, value in values.items():
        if key in ("command", *INFORMATION):
            continue
        if key in _PARTS:
            given[key] = _part(_PARTS[key], key, value)
        else:
            given[key] = _typed(key, value, hints[key])
    return given


def _part(kind: type[Spec], key: str, value: Any) -> Spec:
    if not isinstance(value, Mapping):
        raise LayerprobeError(f"the configuration's {key!r} has keys below it, e.g. 'name'; not {value!r}")
    _check_keys(value, [field.name for field in fields(kind)], f"{key}.")
    if kind in (ModelSpec, DataSpec) and not value.get("name"):
        raise LayerprobeError(f"the configuration names no {key}; give {key}.name, or --{key}")
    hints = get_type_hints(kind)
    return kind(**{name: _typed(f"{key}.{name}", item, hints[name]) for name, item in value.items()})


def _typed(path: str, value: Any, hint: Any) -> Any:
    """A value of a field's type; numbers that YAML reads as words are read, and other values are refused."""
    kinds = set(get_args(hint) or (hint,))
    if value is None and type(None) in kinds:
        return None
    kind = next(one for one in kinds if one is not type(None))
    if get_origin(kind) is tuple and isinstance(value, (list, tuple)):
        return tuple(_typed(path, item, get_args(kind)[0]) for item in value)
    if kind is Path and isinstance(value, (str, Path)):
        return Path(value)
    if kind is float and isinstance(value, str):
        with suppress(ValueError):
            return float(value)  # YAML reads 1e-4 as a word
    if type(value) is kind or (kind is float and type(value) is int):
        return value
    what = _WORDS.get(get_origin(kind) or kind, str(kind))
    raise LayerprobeError(f"the configuration's {path} is {what}, not {value!r}")


def _layers(path: str, value: Any) -> list[str] | None:
    """Layers as the command line has them, in one text, or as a list of names and indices; None: there are none."""
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",")]
    if value is None or (isinstance(value, (list, tuple)) and all(type(item) in (str, int) for item in value)):
        return [str(item) for item in value or () if item != ""] or None
    raise LayerprobeError(f"the configuration's {path} is a list of layers by name or index, not {value!r}")


def _check_keys(values: Mapping[str, Any], known: Iterable[str], prefix: str) -> None:
    for key in values:
        if key not in known:
            raise LayerprobeError(
                f"no key {prefix + str(key)!r} in a configuration; {closest(str(key), sorted(known))}"
            )


def _require(given: Mapping[str, Any], options: Mapping[str, str], resumed: Path | None) -> None:
    missing = [option for key, option in options.items() if key not in given]
    if missing and resumed is not None:
        raise LayerprobeError(f"{resumed} holds no run to go on with; --output names its folder, where --resume does")
    if missing:
        raise LayerprobeError(
            f"{' and '.join(missing)} missing; give {'them' if missing[1:] else 'it'}, or --config FILE"
        )


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


def differences(one: Mapping[str, Any], other: Mapping[str, Any], without: Iterable[str] = ()) -> list[str]:
    """Dotted keys whose values differ, each with both values."""
    ours, theirs = flat(one), flat(other)
    keys = [key for key in {**ours, **theirs} if key not in without and key.partition(".")[0] not in without]
    return [f"{key} {theirs.get(key)!r}, not {ours.get(key)!r}" for key in keys if ours.get(key) != theirs.get(key)]


def flat(values: Mapping[str, Any], prefix: str = "") -> Values:
    """Values by dotted keys."""
    found: Values = {}
    for key, value in values.items():
        found.update(flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value})
    return found
