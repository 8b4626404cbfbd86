"""Notes below a grid's tables: teachers, settings in which runs differ, and how numbers were chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from layerprobe.records import GridResults, Run
from layerprobe.report.grid.groups import Group, column_groups, find_reference
from layerprobe.report.tables.runs import adapted_notes

HEADLINE = "mean ± sample standard deviation (seeds) of the last epoch; no run is left out, and none is chosen"
BEST_EPOCH = "the best epoch on test is chosen by the test images themselves: an optimistic figure"
DIFFERENCES = (
    "differences to the reference over the seeds that both have, with 95 % intervals and p of a two-sided paired "
    "t-test (below 0.05 where the interval leaves out zero), not corrected for how many methods are compared"
)
OVER_PAIRS = (
    "of every pair and data set the mean difference over the seeds that method and reference both have; then the mean "
    "over pairs, with a 95 % interval and p of a two-sided t-test that counts pairs, not seeds, not corrected for how "
    "many methods are compared"
)
HOLDOUT = "the epoch chosen on held-out images is the one that is best on training images that were held out"
SETTINGS = (
    "setting: the form and the weights of a method, those of its publication or those of the paper's comparison, where "
    "features weigh 1 (fine-tuned: simkd of version 0.1.0); empty where the method is the same in both"
)
LABELS = "labels: whether class labels reach the student's backbone, and not its classifier alone"


def _images(run: Run, key: str) -> str:
    count = run.config.get("training", {}).get(key)
    return "all" if count is None else f"{count:,}"


def _setting(key: str) -> Callable[[Run], str]:
    return lambda run: str(run.config.get("training", {}).get(key))


def _device(run: Run) -> str:
    machine = run.environment
    if not machine:
        return "unknown"
    name = machine.get("device_name") or machine.get("device", "unknown")
    return f"{name}, threads {machine.get('threads', '?')}, processes {machine.get('processes', '?')}"


_COMPARED_SETTINGS: dict[str, Callable[[Run], str]] = {
    "epochs": lambda run: str(len(run.epochs)),
    "training images": lambda run: _images(run, "train_samples"),
    "test images": lambda run: _images(run, "test_samples"),
    "share of held-out images": lambda run: f"{run.config.get('training', {}).get('holdout') or 0:g}",
    **{
        key.replace("_", " "): _setting(key)
        for key in ("optimizer", "lr", "schedule", "weight_decay", "batch_size", "augment", "precision")
    },
    "teacher's top-1": lambda run: "unknown" if run.teacher_accuracy is None else f"{run.teacher_accuracy:.2f} %",
}
_COMPARED_MACHINES: dict[str, Callable[[Run], str]] = {"machine": _device}


def setting_notes(results: GridResults) -> tuple[str, ...]:
    """One line for every setting in which runs that are compared with each other differ."""
    return tuple(_differences(results, _COMPARED_SETTINGS))


def weights_notes(results: GridResults) -> tuple[str, ...]:
    """What was changed of the weights that students and teachers started from, and in which runs."""
    lines: dict[str, list[str]] = {}
    for column, groups in column_groups(results).items():
        runs = {f"{group.label}, seed {seed}": run for group in groups for seed, run in group.runs.items()}
        changed: dict[str, list[str]] = {}
        for name, run in runs.items():
            for line in adapted_notes(run):
                changed.setdefault(line, []).append(name)
        for line, names in changed.items():
            lines.setdefault(line, []).append(column if len(names) == len(runs) else f"{column} ({'; '.join(names)})")
    return tuple(f"{', '.join(columns)}: {line}" for line, columns in lines.items())


def cost_notes(results: GridResults) -> tuple[str, ...]:
    """One line where runs whose seconds and memory are compared were computed on different machines."""
    return tuple(f"{note}; seconds and memory don't compare" for note in _differences(results, _COMPARED_MACHINES))


def _differences(results: GridResults, settings: dict[str, Callable[[Run], str]]) -> Iterator[str]:
    for column, groups in column_groups(results).items():
        for name, read in settings.items():
            values: dict[str, list[str]] = {}
            for group in groups:
                for value, runs in _group_values(group, name, read):
                    values.setdefault(value, []).append(runs)
            if len(values) > 1:
                listed = "; ".join(f"{value} ({', '.join(runs)})" for value, runs in values.items())
                yield f"{column}: runs differ in {name}: {listed}"


def _group_values(group: Group, name: str, read: Callable[[Run], str]) -> Iterator[tuple[str, str]]:
    """Every value of a setting in a group, and which runs have it; a run without a teacher has no teacher's top-1."""
    seeds: dict[str, list[int]] = {}
    for seed, run in group.runs.items():
        if name != "teacher's top-1" or run.teacher_accuracy is not None:
            seeds.setdefault(read(run), []).append(seed)
    for value, with_value in seeds.items():
        numbers = ", ".join(map(str, with_value))
        plural = "seed" if len(with_value) == 1 else "seeds"
        yield value, group.label if len(seeds) == 1 else f"{group.label}, {plural} {numbers}"


def reference_notes(results: GridResults) -> tuple[str, ...]:
    """What the asterisk means, or why no row has one."""
    if not results.reference:
        return ()
    if any(find_reference(groups, results) for groups in column_groups(results).values()):
        return (f"*: {results.reference}, the reference",)
    several = f"{results.reference!r} has several choices of layers; name one of them"
    return (f"no method is compared with a reference: {several}",)


def teacher_accuracy(groups: Sequence[Group]) -> float | None:
    """Top-1 of the teacher of a column in percent.

    None where it isn't known, runs don't agree on two decimals, or students are compared by something else.
    """
    known = [run.teacher_accuracy for group in groups if not group.way for run in group.runs.values()]
    accuracies = [accuracy for accuracy in known if accuracy is not None]
    return accuracies[0] if len({f"{accuracy:.2f}" for accuracy in accuracies}) == 1 else None


def count_states(results: GridResults) -> dict[str, int]:
    """How many cells are done, running, failed and waiting."""
    states = [result.state for result in results.results]
    return {state: states.count(state) for state in ("done", "running", "failed", "waiting")}


def state_note(results: GridResults) -> str:
    """How many cells are done, and how many are in another state, in words.

    Examples:
        >>> state_note(GridResults("none", "", ()))
        '0 of 0 cells done'
    """
    counts = count_states(results)
    rest = [f"{count} {state}" for state, count in counts.items() if state != "done" and count]
    return ", ".join([f"{counts['done']} of {len(results.results)} cells done", *rest])
