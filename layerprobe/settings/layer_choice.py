"""Which layers, and which of them learns from which: parsed once, where the user says it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ValidationInfo
from pydantic_core import core_schema

from layerprobe.distill.alignments.catalogue import MAPPINGS, ONE_TO_ONE
from layerprobe.errors import LayerprobeError, closest, shown
from layerprobe.plugins import split_file_name
from layerprobe.ranking.catalogue import RULES
from layerprobe.settings.base import RefusedError, is_recorded

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler

STRIDE = "every"
"""``every:4`` is a pattern of names, and no rule; see ``layerprobe.layers.selection``."""
ALL = "all"
EVEN = "even"
"""The rule that also chooses a student's layers."""

_RULE = re.compile(r"([A-Za-z][\w-]*|.*\.py:\w+):([\w-]*)")
_NAME = re.compile(r"[A-Za-z_][^:*?\[\]]*")


@dataclass(frozen=True)
class RuleChoice:
    """A rule, and how many layers it chooses.

    Attributes:
        name: of the rule, as the catalogue ``RULES`` has it; of a plug-in ``FILE.py:name``.
        count: k, from 1.
    """

    name: str
    count: int

    def __str__(self) -> str:
        return f"{self.name}:{self.count}"


@dataclass(frozen=True)
class LayerChoice:
    """Layers of a network, as the user chooses them: one of three ways.

    ``str`` gives the text that ``parse`` reads back.

    Attributes:
        names: names of layers, or patterns, see ``layerprobe.layers.selection.find_layers``.
        ranking: a ranking file, whose chosen layers are meant.
        rule: a rule with its number of layers.
        chosen_by: of names, the rule that has chosen them; None: the user names them.

    Raises:
        ValueError: unless it is exactly one of the three.
    """

    names: tuple[str, ...] = ()
    ranking: Path | None = None
    rule: RuleChoice | None = None
    chosen_by: RuleChoice | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if sum(map(bool, (self.names, self.ranking, self.rule))) != 1:
            raise ValueError("layers are chosen by name, by a ranking file or by a rule: by one of them")

    @classmethod
    def parse(cls, value: Any, recorded: bool = False) -> LayerChoice:
        """Read ``NAME,NAME``, a list of names and indices, ``NAME.json``, or ``RULE:K``.

        Args:
            value: text, a list, or a choice.
            recorded: whether the value tells what was done once: a plug-in's file need not be there any more.

        Raises:
            LayerprobeError: if it is none of these, or there is no such rule.

        Examples:
            >>> LayerChoice.parse("layer3.6, -1").names
            ('layer3.6', '-1')
            >>> LayerChoice.parse("stagewise:4").rule
            RuleChoice(name='stagewise', count=4)
            >>> LayerChoice.parse("every:4").names
            ('every:4',)
            >>> LayerChoice.parse("r56.ranking.json").ranking.name
            'r56.ranking.json'
        """
        if isinstance(value, LayerChoice):
            return value
        parts = _parts(value, recorded)
        if len(parts) == 1 and parts[0].endswith(".json"):
            return cls(ranking=Path(parts[0]))
        rules = [rule for part in parts if (rule := _rule(part, recorded))]
        if rules and parts[1:]:
            raise LayerprobeError(f"{rules[0]} is a rule, which chooses all layers; name it alone, or name layers")
        return cls(rule=rules[0]) if rules else cls(names=parts)

    @classmethod
    def of(cls, names: Iterable[str], chosen_by: RuleChoice | None = None) -> LayerChoice:
        """Layers by their names, which a rule may have chosen."""
        return cls(names=tuple(names), chosen_by=chosen_by)

    @property
    def is_exact(self) -> bool:
        """Whether layers are called by their own names, which say the same of any network."""
        return bool(self.names) and all(_NAME.fullmatch(name) and name != ALL for name in self.names)

    def __str__(self) -> str:
        return str(self.rule or self.ranking or ",".join(self.names))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Parse text and lists, and give text."""
        text = core_schema.plain_serializer_function_ser_schema(str)
        return core_schema.with_info_plain_validator_function(_choice, serialization=text)


def _choice(value: Any, info: ValidationInfo) -> LayerChoice:
    try:
        return LayerChoice.parse(value, is_recorded(info))
    except LayerprobeError as error:
        raise RefusedError(f"<>: {error}") from None


def _parts(value: Any, recorded: bool) -> tuple[str, ...]:
    """The parts of a text with commas, or of a list; a ranking file's path is one part.

    What was done once may have been said with empty parts, which are dropped, and with repetitions.
    """
    several = [value] if isinstance(value, str) else value
    if not isinstance(several, (list, tuple)) or not all(type(part) in (str, int) for part in several):
        raise LayerprobeError(
            f"layers are a list of names and indices, a ranking file, or a rule like quality:4; not {shown(value)}"
        )
    text = ",".join(map(str, several))
    parts = (text,) if text.endswith(".json") else tuple(part.strip() for part in text.split(","))
    if not any(parts):
        raise LayerprobeError("no layer is named; `layerprobe layers --model NAME` lists those of a network")
    if not recorded and not all(parts):
        raise LayerprobeError(
            f"{shown(text)} has an empty name beside a comma; name a layer there, or remove the comma"
        )
    if not recorded and (twice := next((part for part in parts if parts.count(part) > 1), None)):
        raise LayerprobeError(
            f"{twice} is named twice; name a layer once (--mapping says which layer learns from which)"
        )
    return tuple(filter(None, parts))


def _rule(text: str, recorded: bool) -> RuleChoice | None:
    """What ``RULE:K`` or ``FILE.py:name:K`` chooses; None where the text is a name or a pattern.

    Raises:
        LayerprobeError: if there is no such rule, or K is no number from 1.
    """
    found = _RULE.fullmatch(text)
    if found is None or found[1] == STRIDE:
        if text.partition(".py:")[1]:
            raise LayerprobeError(f"a rule of your own is FILE.py:name:K, K how many layers it chooses; not {text!r}")
        return None
    name, number = found[1], found[2]
    own = split_file_name(name) is not None
    if not own and name not in RULES:
        raise LayerprobeError(f"no rule {name!r} that chooses layers; {closest(name, RULES)}")
    if not re.fullmatch(r"[1-9][0-9]{0,5}", number):
        raise LayerprobeError(f"{name}:K chooses K layers, K a number from 1; not {shown(number)}")
    if own and not recorded:
        RULES.find(name)
    return RuleChoice(name, int(number))


def _none_where_empty(value: Any) -> Any:
    """In files an empty list, or an empty text, says nothing."""
    return None if value in ("", [], ()) else value


def _by_name(choice: LayerChoice) -> LayerChoice:
    if not choice.names:
        raise RefusedError(
            f"<> takes names, globs (layer3.*), indices, ranges (3-7, 3:8, -4:), every:4 or all; not {str(choice)!r}"
        )
    return choice


def _by_name_or_even(choice: LayerChoice | None) -> LayerChoice | None:
    if choice is None or choice.names or (choice.rule and choice.rule.name == EVEN):
        return choice
    raise RefusedError(f"<> takes names and indices separated by commas, or {EVEN}:K; not {str(choice)!r}")


def rule_words() -> dict[str, str]:
    """How the rules are typed, before their number of layers, with what each chooses."""
    return {f"{rule.name}:": rule.help for rule in RULES.values()}


TeacherLayers = Annotated[LayerChoice | None, BeforeValidator(_none_where_empty)]
"""Layers chosen in any way; None, also where a file has an empty list: not chosen."""
StudentLayers = Annotated[LayerChoice | None, BeforeValidator(_none_where_empty), AfterValidator(_by_name_or_even)]
"""Layers by name, or ``even:K``; None: not chosen."""
NamedLayers = Annotated[LayerChoice, AfterValidator(_by_name)]
"""Layers by name or pattern."""


@dataclass(frozen=True)
class Pairs:
    """Which student layer learns from which teacher layer. ``str`` gives the text that ``parse`` reads back.

    Attributes:
        mapping: one of ``MAPPINGS``, of chosen layers; empty: the table says it.
        table: pairs of a student's and a teacher's layer, by name or index.

    Raises:
        ValueError: unless it is exactly one of these.
    """

    mapping: str = ONE_TO_ONE
    table: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        if bool(self.table) == (self.mapping in MAPPINGS) or self.mapping not in ("", *MAPPINGS):
            raise ValueError("pairs are a mapping by its name, or a table")

    @classmethod
    def parse(cls, value: Any) -> Pairs:
        """Read the name of a mapping, or a table ``STUDENT=TEACHER,STUDENT=TEACHER``.

        Raises:
            LayerprobeError: if it is neither.

        Examples:
            >>> Pairs.parse("full").mapping
            'full'
            >>> Pairs.parse("layer1.2=layer3.5, 9=-1").table
            (('layer1.2', 'layer3.5'), ('9', '-1'))
        """
        if isinstance(value, Pairs):
            return value
        if isinstance(value, str) and value in MAPPINGS:
            return cls(value)
        if isinstance(value, str) and "=" in value:
            entries = (part.strip() for part in value.split(","))
            return cls("", tuple(_pair(entry) for entry in entries if entry))
        hint = f"; {closest(value, MAPPINGS)}" if isinstance(value, str) else ""
        raise LayerprobeError(
            f"a mapping is one of {', '.join(MAPPINGS)}, or pairs STUDENT=TEACHER separated by commas; not "
            f"{shown(value)}{hint}"
        )

    @property
    def label(self) -> str:
        """What tables call it."""
        return f"table of {len(self.table)} pairs" if self.table else f"{self.mapping} mapping"

    def __str__(self) -> str:
        return self.mapping or ",".join(f"{ours}={theirs}" for ours, theirs in self.table)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Parse text, and give text."""
        text = core_schema.plain_serializer_function_ser_schema(str)
        return core_schema.no_info_plain_validator_function(_pairs, serialization=text)


def _pairs(value: Any) -> Pairs:
    try:
        return Pairs.parse(value)
    except LayerprobeError as error:
        raise RefusedError(f"<>: {error}") from None


def _pair(entry: str) -> tuple[str, str]:
    ours, _, theirs = (part.strip() for part in entry.partition("="))
    if not ours or not theirs or "=" in theirs:
        raise LayerprobeError(
            f"a table has pairs STUDENT=TEACHER separated by commas, e.g. layer1.2=layer3.5; not {shown(entry)}"
        )
    return ours, theirs
