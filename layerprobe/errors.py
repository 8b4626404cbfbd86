"""The one error that is meant for a person."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence


class LayerprobeError(Exception):
    """What the user asked for can't be done.

    The message is one line: the invariant, what came instead, and the remedy. The command line
    prints it without a traceback and exits with code 2.
    """


def first_of(found: Sequence[str]) -> str:
    """The first of several, and how many more there are; empty: there is none.

    Example:
        >>> first_of(["a", "b", "c"]), first_of(["a"]), first_of([])
        ('a (and 2 more)', 'a', '')
    """
    more = f" (and {len(found) - 1} more)" if found[1:] else ""
    return f"{found[0]}{more}" if found else ""


def closest(name: str, known: Iterable[str], count: int = 2) -> str:
    """Spell out the known names most like ``name``, for the end of an error message.

    Example:
        >>> closest("layer3.66", ["layer1.0", "layer3.5", "layer3.6"])
        "closest: 'layer3.6', 'layer3.5'"
        >>> closest("xyz", ["layer1"])
        "known: 'layer1'"
    """
    names = list(known)
    matches = difflib.get_close_matches(name, names, n=count, cutoff=0.5)
    label, shown = ("closest", matches) if matches else ("known", names[:12])
    more = ", ..." if not matches and len(names) > len(shown) else ""
    return f"{label}: {', '.join(map(repr, shown))}{more}"
