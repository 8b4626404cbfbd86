"""Configurations of runs as plain values: what ``config.yaml`` holds, read, merged and compared."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from layerprobe.errors import LayerprobeError
from layerprobe.files import read_yaml
from layerprobe.plugins import file_sha256, split_file_name
from layerprobe.records import RANKING_FORMAT
from layerprobe.records.parsing import parse
from layerprobe.records.run_files import CONSTANTS, INFORMATION, REMEDY, RunInformation
from layerprobe.settings.base import Settings
from layerprobe.settings.layer_choice import LayerChoice, Pairs
from layerprobe.settings.legacy import with_former_setting, with_new_keys
from layerprobe.settings.model import DRAWN
from layerprobe.settings.run import DistillSettings, RunSettings, TrainSettings

Values = dict[str, Any]
RunKind = TypeVar("RunKind", bound=RunSettings)

COMMANDS: Mapping[str, type[TrainSettings] | type[DistillSettings]] = {
    kind.command: kind for kind in (TrainSettings, DistillSettings)
}

_HASH = "weights_sha256"
_OF_WEIGHTS = {"name", "weights", "weights_key", "num_classes", "adapt"}
"""What a network's weights depend on."""
_NAMED = ("model", "teacher", "student", "data")
"""Parts that a name may stand for."""


def read_values(path: Path, command: str, also: Collection[str] = ()) -> Values:
    """The values of a configuration file, by the keys of this version; it need not be complete.

    Args:
        path: of the file.
        command: whose configuration it must be.
        also: further keys that it may have; they are not looked at.

    Raises:
        LayerprobeError: if the file isn't there, isn't YAML, is another command's, or a value is not allowed.
    """
    values = _read(path, "configuration", "--config names the config.yaml of a run")
    if values.get("command", command) != command:
        raise LayerprobeError(f"{path} is of `layerprobe {values['command']}`; run that, or name another --config")
    return current_values(values, command, path, also)


def current_values(
    values: Mapping[str, Any], command: str, where: Path, also: Collection[str] = (), begun: bool = False
) -> Values:
    """The values of a configuration, by the keys of this version; it need not be complete.

    Args:
        values: as some version wrote them.
        command: whose configuration they are.
        where: they were read, for messages.
        also: further keys that they may have; they are not looked at.
        begun: whether a run was begun with them, though they do not say what a run says about itself.

    Raises:
        LayerprobeError: if a value may not stand where it does.
    """
    others = {key: values[key] for key in also if key in values}
    own = {key: value for key, value in values.items() if key not in also}
    given, _ = _checked(own, COMMANDS[command], where, begun)
    return {"command": command, **given, **others}


def read_run_config(path: Path) -> Values:
    """The whole configuration of a run, with defaults filled in, and what the run says about itself.

    Raises:
        LayerprobeError: if the file isn't there, isn't YAML, or isn't the configuration of a run.
    """
    if not path.is_file():
        raise LayerprobeError(f"{path.parent} holds no run: it has no {path.name}; `layerprobe distill` makes one")
    values = _read(path, "run configuration", REMEDY)
    return complete_config(values, path)


def complete_config(values: Mapping[str, Any], where: Path) -> Values:
    """The whole configuration of a run by the keys of this version, with defaults filled in.

    Args:
        values: as this version or 0.1.0 wrote them.
        where: the file that they come from, for messages.

    Raises:
        LayerprobeError: if they aren't the configuration of a run, or a value is not allowed.
    """
    kind = COMMANDS.get(str(values.get("command")))
    if kind is None:
        raise LayerprobeError(
            f"{where} is not the configuration of a run: command is {' or '.join(COMMANDS)}, not "
            f"{values.get('command')!r}; `layerprobe distill` makes one"
        )
    given, about = _checked(values, kind, where)
    try:
        settings = kind.parse({**given, "output": where.parent}, recorded=True)
    except LayerprobeError as error:
        raise LayerprobeError(f"{where}: {error}") from None
    return {**settings.configuration(), **about}


def recorded_settings(path: Path) -> TrainSettings | DistillSettings:
    """The settings of a run, from its ``config.yaml``.

    Raises:
        LayerprobeError: as ``read_run_config``.
    """
    values = read_run_config(path)
    return settings_of(COMMANDS[values["command"]], values, path.parent, recorded=True)


def settings_of(
    kind: type[RunKind], values: Mapping[str, Any], output: Path | None, recorded: bool = False, **others: bool
) -> RunKind:
    """The settings that the values of a configuration mean, without what a run says about itself.

    Args:
        kind: of the settings.
        values: as ``read_values`` and ``merge`` give them.
        output: the run's folder; None: it is missing.
        recorded: whether they describe a run that was made before.
        others: values of ``overwrite`` and ``resume``.

    Raises:
        SettingsError: if a value is missing or not allowed.
    """
    given = {key: value for key, value in values.items() if key not in ("command", *INFORMATION)}
    return kind.parse({**given, **({"output": output} if output else {}), **others}, recorded)


def _read(path: Path, what: str, remedy: str) -> Values:
    values = read_yaml(path, what, remedy)
    if values.get("format") == RANKING_FORMAT:
        raise LayerprobeError(f"{path} is a ranking; --layers takes it, and --config the config.yaml of a run")
    return values


def _checked(
    values: Mapping[str, Any], kind: type[RunSettings], path: Path, begun: bool = False
) -> tuple[Values, Values]:
    """The values of a run's settings and those of its information, each of them checked."""
    about = {key: value for key, value in values.items() if key in INFORMATION}
    given = {key: value for key, value in values.items() if key not in ("command", *about)}
    parse(RunInformation, about, path, REMEDY)
    try:
        given = with_new_keys(given)
        if (begun or "versions" in about) and CONSTANTS not in about:  # of a run that an earlier version began
            given = with_former_setting(given)
        kind.check_given(given, recorded=True)
    except LayerprobeError as error:
        raise LayerprobeError(f"{path}: {error}") from None
    return given, about


def merge(values: Mapping[str, Any], over: Mapping[str, Any]) -> Values:
    """Values with others laid over them, part by part.

    A network's hash goes where its weights become others, and layers where a table of pairs names others.
    """
    merged = dict(values)
    for key, value in over.items():
        new, part = _as_part(key, value), _as_part(key, merged.get(key))
        if isinstance(new, Mapping) and isinstance(part, Mapping):
            changed = {name for name in new if new[name] != part.get(name)}
            kept = {name: old for name, old in part.items() if not (name == _HASH and changed & _OF_WEIGHTS)}
            merged[key] = {**kept, **new}
        else:
            merged[key] = new
    _forget_drawn(merged, values)
    mapping = _within(over, "alignment", "mapping")
    if mapping is not None and Pairs.parse(mapping).table:
        for key in {"layers", "student_layers"} - set(over):
            merged.pop(key, None)
    return merged


def _forget_drawn(merged: Values, before: Mapping[str, Any]) -> None:
    """Take away the hashes of weights that are drawn anew, in whole or in part where they are adapted.

    They are for other images, or, of a trained network, with another seed.
    """
    others = merged.get("data") != before.get("data")
    seeds = [_within(values, "training", "seed") for values in (merged, before)]
    for network in ("model", "student", "teacher"):
        part = merged.get(network)
        if not isinstance(part, Mapping) or (part.get("weights") not in (None, *DRAWN) and not part.get("adapt")):
            continue
        if others or (network != "teacher" and seeds[0] != seeds[1]):
            merged[network] = {name: value for name, value in part.items() if name != _HASH}


def _within(values: Mapping[str, Any], group: str, key: str) -> Any:
    """A value of a group, before the group is known to be one."""
    found = values.get(group)
    return found.get(key) if isinstance(found, Mapping) else None


def _as_part(key: str, value: Any) -> Any:
    """A name that stands for a network or for images, as the part that it means."""
    return {"name": value} if key in _NAMED and isinstance(value, str) else value


def differences(one: Mapping[str, Any], other: Mapping[str, Any], without: Iterable[str] = ()) -> list[str]:
    """Dotted keys whose values differ, each with the other's value and then with the first one's."""
    ours, theirs, left_out = flat(one), flat(other), set(without)
    keys = [key for key in {**ours, **theirs} if not {key, key.partition(".")[0]} & left_out]
    return [f"{key} {theirs.get(key)!r}, not {ours.get(key)!r}" for key in keys if ours.get(key) != theirs.get(key)]


def flat(values: Mapping[str, Any], prefix: str = "") -> Values:
    """Values by dotted keys."""
    found: Values = {}
    for key, value in values.items():
        found.update(flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value})
    return found


def plugin_hashes(settings: Settings) -> dict[str, str]:
    """SHA-256 of the file of every plug-in that settings name, by the plug-in's name.

    Raises:
        LayerprobeError: if a file is not there.
    """
    return {name: file_sha256(name) for name in plugin_names(settings)}


def plugin_names(settings: Settings) -> Iterator[str]:
    """Every ``FILE.py:name`` that settings name."""
    for value in flat(settings.plain()).values():
        if isinstance(value, str) and ".py:" in value and split_file_name(value):
            yield value
    choice: LayerChoice | None = getattr(settings, "layers", None)
    rule = choice and (choice.rule or choice.chosen_by)
    if rule and split_file_name(rule.name):
        yield rule.name
