"""Writes the tables that pages derive from the catalogues: ``python docs/catalogues.py``.

A table stands between ``<!-- catalogue: KIND -->`` and ``<!-- end of catalogue -->``. A kind is a key of ``TABLES``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from layerprobe.catalogue import Catalogue, Entry
from layerprobe.data.catalogue import AUGMENTATIONS
from layerprobe.distill.alignments.catalogue import ALIGNMENTS, ATTENTION, FULL, MAPPINGS, PROJECTORS
from layerprobe.distill.engine.catalogue import OPTIMIZERS, SCHEDULES
from layerprobe.distill.losses.catalogue import FEATURE_LOSSES
from layerprobe.distill.methods.catalogue import LAST_MAPS, METHODS, PAPER, PENULTIMATE, PUBLICATION, SETTINGS, Method
from layerprobe.geometry.catalogue import ALWAYS, STATISTICS, UNMEASURED, Statistic
from layerprobe.ranking.catalogue import NAMED_RULES, RULES
from layerprobe.report.figures.catalogue import FIGURES

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))

_BLOCK = re.compile(r"<!-- catalogue: ([\w-]+) -->\n.*?<!-- end of catalogue -->", re.DOTALL)
_PAIRS = {"": "none", PENULTIMATE: "what enters the classifiers", LAST_MAPS: "the last maps"}
_MAPPINGS = {FULL: "four, full", ATTENTION: "four, attention"}


def methods_in_short() -> str:
    """Every method in one line: its name, what it is, and its source."""
    rows = ((f"`{name}`", method.help, _source(method)) for name, method in METHODS.items())
    return _table(("`--method`", "what trains the backbone", "source"), rows)


def methods() -> str:
    """Every method in every setting: its objective, what is paired, what it needs, what reaches the backbone."""
    rows = (
        (
            f"`{name}`",
            setting,
            method.objective_in_words,
            _pairs(method),
            ", ".join(method.teacher) or "nothing",
            ", ".join(method.reaches_backbone),
            _source(method),
        )
        for name, entry in METHODS.items()
        for setting, method in _forms(entry)
    )
    header = ("`--method`", "`--setting`", "what trains the backbone", "pairs of layers", "needs of the teacher")
    return _table((*header, "in the backbone", "source"), rows)


def settings() -> str:
    """Every setting of baselines."""
    return _table(("`--setting`", ""), ((f"`{name}`", setting.help) for name, setting in SETTINGS.items()))


def forms() -> str:
    """Every form of feature-only, by its option."""
    kinds: tuple[tuple[str, Catalogue[Entry]], ...] = (
        ("--alignment", ALIGNMENTS),  # type: ignore[assignment]
        ("--projector", PROJECTORS),
        ("--feature-loss", FEATURE_LOSSES),
        ("--mapping", MAPPINGS),
    )
    return _table(("option", "value", ""), _by_option(kinds))


def recipes() -> str:
    """Every optimizer, schedule and augmentation, by its option."""
    kinds: tuple[tuple[str, Catalogue[Entry]], ...] = (
        ("--optimizer", OPTIMIZERS),  # type: ignore[assignment]
        ("--schedule", SCHEDULES),
        ("--augment", AUGMENTATIONS),
    )
    return _table(("option", "value", ""), _by_option(kinds))


def scores() -> str:
    """What every ranking holds: the scores that are always measured, and depth."""
    chosen = (one for one in STATISTICS.values() if one.family in (ALWAYS, UNMEASURED) and one.direction)
    rows = ((*_statistic(one), f"`{one.symbol}`", one.direction) for one in chosen)
    return _table(("name", "statistic", "what it says", "range", "column", "better"), rows)


def statistics() -> str:
    """What ``--statistics`` adds, family by family."""
    chosen = (one for one in STATISTICS.values() if one.family not in (ALWAYS, UNMEASURED))
    rows = ((*_statistic(one), f"`{one.symbol}`", f"`{one.family}`", one.direction) for one in chosen)
    return _table(("name", "statistic", "what it says", "range", "column", "family", "better"), rows)


def rules() -> str:
    """Every rule, and what the scores bring along."""
    own = [(f"`{name}:K`", rule.help) for name, rule in RULES.items() if rule in NAMED_RULES]
    derived = (
        ("`SCORE:K`", "the K layers that are best by a [score](statistics.md); `quality:K` is the paper's choice"),
        *own,
        ("`stagewise-SCORE:K`", "as `stagewise:K`, by another score"),
        ("`FILE.py:name:K`", "what a function of your own chooses: below"),
    )
    return _table(("rule", "takes"), derived)


def figures() -> str:
    """Every figure of a ranked network."""
    return _table(("`--figures`", "shows"), ((f"`{name}`", figure.help) for name, figure in FIGURES.items()))


TABLES: Mapping[str, Callable[[], str]] = {
    "methods-in-short": methods_in_short,
    "methods": methods,
    "settings": settings,
    "forms": forms,
    "recipes": recipes,
    "scores": scores,
    "statistics": statistics,
    "rules": rules,
    "figures": figures,
}
"""What makes each kind of table."""


def with_tables(text: str) -> str:
    """The text of a page with its tables made anew."""

    def made(block: re.Match[str]) -> str:
        return f"<!-- catalogue: {block[1]} -->\n{TABLES[block[1]]()}\n<!-- end of catalogue -->"

    return _BLOCK.sub(made, text)


def _by_option(kinds: Iterable[tuple[str, Catalogue[Entry]]]) -> Iterable[Sequence[str]]:
    for option, catalogue in kinds:
        for number, (name, entry) in enumerate(catalogue.items()):
            yield f"`{option}`" if number == 0 else "", f"`{name}`", entry.help
        if catalogue.takes_plugins:
            yield "", "`FILE.py:name`", f"{'an' if catalogue.kind[0] in 'aeiou' else 'a'} {catalogue.kind} of your own"


def _statistic(entry: Statistic) -> tuple[str, str, str, str]:
    """Its name, its label with a link to the page that defines it, what it says, and its range."""
    return f"`{entry.name}`", f"[{entry.label}](statistics/{entry.page}.md)", entry.help, entry.range


def _forms(method: Method) -> Iterable[tuple[str, Method]]:
    """The settings of a method, those that change nothing together."""
    if method.shown_setting(PUBLICATION):
        return [(f"`{setting}`", method.in_setting(setting)) for setting in method.settings]
    return [("both" if PAPER in method.settings else f"`{PUBLICATION}`", method)]


def _pairs(method: Method) -> str:
    if method.layers_required:
        return "`--layers`"
    return _PAIRS.get(method.pairs) or _MAPPINGS.get(method.mapping, "four, one to one")


def _source(method: Method) -> str:
    return f"[{method.source}]({method.link})" if method.link else method.source


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


if __name__ == "__main__":
    for page in PAGES:
        before = page.read_text(encoding="utf-8")
        after = with_tables(before)
        if after != before:
            page.write_text(after, encoding="utf-8")
