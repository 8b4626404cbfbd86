"""Commands that are stopped at random moments and run again: they must leave what an undisturbed run leaves.

    python benchmarks/kills.py --tries 25 --output ../kills

Each try is a command on scikit-learn's handwritten digits in a folder of its own, a signal to it after a random part
of the time that it takes, and the same command again. The second run must end well and leave the same content as a run
that nobody stopped, and nothing else: no temporary file, no lock, no cell that counts as failed. After SIGINT and
SIGTERM the first run must have ended with 130 or 143, with one line that says how to go on (or have come to its end
before, or have got the signal before its first instruction). The signal goes to the whole group of processes, as Ctrl-C
in a terminal does, or to the command's own process alone.

Commands are forked from this process, which has imported all that they need: so the signals fall into their work. With
`--spawn` each is a process of its own from its first instruction on, workers of a grid included.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

import h5py
from safetensors.torch import load_file

from layerprobe.files import is_temporary

SIGNALS = {"SIGKILL": signal.SIGKILL, "SIGINT": signal.SIGINT, "SIGTERM": signal.SIGTERM}
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
PATIENCE = 600.0
"""Seconds after which a command hangs."""
MOST_LATE = 5
"""So often a signal that came too late is sent again, to another run."""

NET = """
from torch import nn

def make_net(width=8):
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(),
        nn.Dropout(0.1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10),
    )
"""
DIGITS = ("--data", "digits", "--device", "cpu")
TRAINING = ("--epochs", "3", "--train-samples", "200", "--test-samples", "50", "--batch-size", "20", "--seed", "1")
GRID = """
title: Digits
reference: scratch
common:
  data: {name: digits}
  training: {epochs: 2, batch_size: 20, train_samples: 100, test_samples: 50, device: cpu}
pairs:
  A to B: {teacher: {name: "net.py:make_net", weights: teacher/model.safetensors}, student: {name: "net.py:make_net"}}
methods: [scratch, kd]
seeds: 2
"""


@dataclass(frozen=True)
class Tried:
    """A command that is stopped.

    Attributes:
        words: what is typed, in a folder with what ``prepare`` made.
        output: what it writes there, a file or a folder.
        keep: other files beside it that count, as patterns.
    """

    words: tuple[str, ...]
    output: str
    keep: tuple[str, ...] = ()


TRIED: Mapping[str, Tried] = {
    "extract": Tried(
        ("extract", "--model", "net.py:make_net", "--weights", "teacher/model.safetensors", *DIGITS, "--samples", "300",
         "--batch-size", "4", "--output", "out/f.h5"),
        "out",
    ),
    "train": Tried(
        ("train", "--model", "net.py:make_net", *DIGITS, *TRAINING, "--augment", "trivial", "--workers", "2",
         "--holdout", "0.2", "--resume", "--output", "out"),
        "out",
    ),
    "distill": Tried(
        ("distill", "--teacher", "net.py:make_net", "--teacher-weights", "teacher/model.safetensors", "--student",
         "net.py:make_net", *DIGITS, *TRAINING, "--layers", "2,5", "--resume", "--output", "out"),
        "out",
    ),
    "compare": Tried(("compare", "grid.yaml", "--jobs", "2", "--output", "out"), "out"),
    "rank": Tried(
        ("rank", "features.h5", "--top", "2", "--resamples", "8", "--figures", "quality,spectra", "--output", "out"),
        "out",
        ("features.ranking.json", "features.statistics.npz"),
    ),
    "report": Tried(("report", "grid", "--output", "out"), "out"),
}  # fmt: skip


@dataclass
class Outcome:
    """What came of one try.

    Attributes:
        code: exit code of the run that was stopped; minus the signal where that killed it; 0: it had come to its end.
        seconds: that it ran.
        wrong: what is not as it should be; empty: nothing.
    """

    code: int
    seconds: float
    wrong: list[str] = field(default_factory=list)


class Forked:
    """A process forked from this one, as far as ``subprocess.Popen`` is used for a worker of a grid."""

    def __init__(self, run: Callable[[], int], log: Path, group: bool = False) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self.returncode: int | None = None
        self.pid = os.fork()
        if not self.pid:
            _be_child(run, log, group)
        if group:
            with suppress(OSError):
                os.setpgid(self.pid, self.pid)

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float = PATIENCE) -> int:
        end = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > end:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.01)
        return code

    def terminate(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)


def _be_child(run: Callable[[], int], log: Path, group: bool) -> None:
    """Do what a process of its own would, and end as it would."""
    code = 1
    try:
        if group:
            os.setpgid(0, 0)
        with log.open("ab", buffering=0) as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = run()
    except KeyboardInterrupt:
        code = -signal.SIGINT
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if code < 0:
            signal.signal(-code, signal.SIG_DFL)
            os.kill(os.getpid(), -code)
        os._exit(code)


def import_all() -> None:
    """Import what the commands import, before any of them is forked."""
    import torch

    import layerprobe.cli.rank
    import layerprobe.cli.runs
    import layerprobe.distill.run
    import layerprobe.experiments.grid.compare
    import layerprobe.experiments.grid.worker
    import layerprobe.experiments.publish
    import layerprobe.features.extraction.extract
    import layerprobe.ranking.rank
    import layerprobe.report.figures.catalogue
    import layerprobe.report.figures.curves
    import layerprobe.report.figures.drawing
    import layerprobe.report.grid.report

    for figure in layerprobe.report.figures.catalogue.FIGURES.values():
        figure.load()
    torch.set_num_threads(1)


def _command(words: Sequence[str], folder: Path) -> int:
    """A command in this process; its exit code."""
    from layerprobe.cli.main import main
    from layerprobe.experiments.grid import launchers

    def start(launch: launchers.Launch, number: int, logs: Path, gpus: int) -> Forked:
        return Forked(lambda: _worker(launch.folder), logs / f"worker-{number}.log")

    launchers._start = start  # type: ignore[assignment]
    os.chdir(folder)
    sys.argv = ["layerprobe", *words]
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def _worker(folder: Path) -> int:
    """What ``python -m layerprobe.experiments.grid.worker`` does."""
    from layerprobe.experiments.grid.worker import main

    return main(str(folder))


def start(words: Sequence[str], folder: Path, log: Path, spawn: bool) -> Forked | subprocess.Popen[bytes]:
    """Start a command as a process that leads a group of its own."""
    if not spawn:
        return Forked(lambda: _command(words, folder), log, group=True)
    with log.open("ab") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "layerprobe", *words],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            process_group=0,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        )


def run(words: Sequence[str], folder: Path, spawn: bool = False) -> float:
    """Run a command to its end; the seconds that it took.

    Raises:
        RuntimeError: if it fails.
    """
    log, began = folder / "command.log", time.monotonic()
    code = start(words, folder, log, spawn).wait(timeout=PATIENCE)
    if code:
        raise RuntimeError(f"{' '.join(words)} ended with {code}: {log.read_text()[-2000:]}")
    return time.monotonic() - began


def prepare(folder: Path, names: Sequence[str] = tuple(TRIED), spawn: bool = False) -> None:
    """Make what the commands start from: a teacher; for ``rank`` its features, and for ``report`` a finished grid."""
    folder.mkdir(parents=True)
    (folder / "net.py").write_text(NET)
    (folder / "grid.yaml").write_text(GRID)
    run(("train", "--model", "net.py:make_net", *DIGITS, *TRAINING, "--output", "teacher"), folder, spawn)
    if "rank" in names:
        run((*TRIED["extract"].words[:-1], "features.h5"), folder, spawn)
    if "report" in names:
        run(("compare", "grid.yaml", "--output", "grid"), folder, spawn)


def content(folder: Path, tried: Tried) -> dict[str, str]:
    """All that must be the same, by name: a digest of every file's content, without times."""
    files = [path for path in sorted((folder / tried.output).rglob("*")) if path.is_file()]
    files += [folder / name for name in tried.keep]
    return {str(path.relative_to(folder)): digest for path in files if (digest := _digest(path))}


def _digest(path: Path) -> str:
    """Of a file's content; empty: it says when and where, and not what."""
    if {"log", "claims"} & set(path.parts) or path.suffix in (".pt", ".npz"):
        return ""
    digest = hashlib.sha256()
    for part in _parts(path):
        digest.update(part)
    return digest.hexdigest()


def _parts(path: Path) -> Iterator[bytes]:
    if path.suffix == ".safetensors":
        for name, tensor in sorted(load_file(path).items()):
            yield name.encode() + tensor.numpy().tobytes()
    elif path.suffix == ".h5":
        with h5py.File(path, "r", locking=False) as file:
            names: list[str] = []
            file.visit(names.append)
            for name in sorted(names):
                yield name.encode()
                if isinstance(file[name], h5py.Dataset):
                    yield repr(file[name][()].tolist()).encode()
    elif path.name == "result.json":
        values = json.loads(path.read_text())
        yield json.dumps({key: value for key, value in values.items() if "accuracy" in key}).encode()
    else:
        yield re.sub(rb"\d{4}-\d\d-\d\dT[\d:+]+", b"", path.read_bytes())


def attempt(
    name: str, prepared: Path, folder: Path, number: signal.Signals, moment: float, alone: bool, spawn: bool = False
) -> Outcome:
    """Stop a command once, run it again, and compare.

    Args:
        name: of the command.
        prepared: what ``prepare`` made, with the content that the undisturbed run left beside it.
        folder: of the try.
        number: the signal.
        moment: seconds after which it comes.
        alone: whether only the command's own process gets it.
        spawn: whether commands are processes from their first instruction on.
    """
    tried, whole = TRIED[name], json.loads((prepared.parent / f"{name}.json").read_text())
    shutil.copytree(prepared, folder)
    log, began = folder / "stopped.log", time.monotonic()
    process = start(tried.words, folder, log, spawn)
    with suppress(subprocess.TimeoutExpired):
        process.wait(timeout=moment)
    if process.poll() is None:
        (os.kill if alone else os.killpg)(process.pid, number)
    try:
        code = process.wait(timeout=PATIENCE)
        outcome = Outcome(code, time.monotonic() - began)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=PATIENCE)
        outcome = Outcome(1, PATIENCE, [f"it did not end within {PATIENCE:.0f} s"])
    outcome.wrong += _check_end(outcome.code, number, log.read_text())
    outcome.wrong += [f"{path.name} counts as failed" for path in folder.glob("out/failures/*.json")]
    try:
        run(tried.words, folder, spawn)
    except (RuntimeError, subprocess.TimeoutExpired) as error:
        outcome.wrong.append(f"the same command again: {error}")
        return outcome
    found = content(folder, tried)
    outcome.wrong += [f"{file} differs" for file in sorted(whole | found) if whole.get(file) != found.get(file)]
    outcome.wrong += [f"{path.relative_to(folder)} was left" for path in folder.rglob("*") if _is_left(path)]
    return outcome


def _check_end(code: int, number: signal.Signals, said: str) -> Iterator[str]:
    """What is wrong with the end of a run that a signal came to."""
    if number == signal.SIGKILL or (code == -number and not said):  # it had not begun to listen
        return
    if code not in (0, CODES[number]):
        yield f"it ended with {code}"
    if "Traceback" in said:
        yield "it showed a traceback: " + said[-1500:]
    lines = said.strip().splitlines() or [""]
    if code and not re.fullmatch(r"interrupted; the same command.* goes on", lines[-1]):
        yield f"its last words were {lines[-1]!r}"


def _is_left(path: Path) -> bool:
    return is_temporary(path) or path.name.startswith(".")


def undisturbed(name: str, prepared: Path, folder: Path, spawn: bool = False) -> float:
    """Run a command that nobody stops, and write its content beside what was prepared; the seconds that it took."""
    place = folder / f"{name}-whole"
    shutil.copytree(prepared, place)
    seconds = run(TRIED[name].words, place, spawn)
    (prepared.parent / f"{name}.json").write_text(json.dumps(content(place, TRIED[name])))
    return seconds


def try_all(
    names: Sequence[str], signals: Sequence[str], tries: int, seed: int, folder: Path, spawn: bool = False
) -> dict[tuple[str, str], list[Outcome]]:
    """Every command with every signal, so many times; told on stdout as it goes."""
    found: dict[tuple[str, str], list[Outcome]] = {}
    if not (folder / "prepared").exists():
        prepare(folder / "prepared", names, spawn)
    seconds = {name: undisturbed(name, folder / "prepared", folder, spawn) for name in names}
    for number, name, signal_name in product(range(tries), names, signals):
        draw = random.Random(f"{seed} {name} {signal_name} {number}")
        part, alone = draw.uniform(0, 1), draw.random() < 0.5
        for again in range(MOST_LATE):
            place = folder / f"{name}-{signal_name}-{number}-{again}"
            moment = part * seconds[name]
            outcome = attempt(name, folder / "prepared", place, SIGNALS[signal_name], moment, alone, spawn)
            how = f"{name} {signal_name} {'alone' if alone else 'group'} after {moment:.2f} s: code {outcome.code}"
            print(how, *(outcome.wrong or ["same"]), sep="; ", flush=True)
            if outcome.wrong or outcome.code:
                break
            seconds[name] = outcome.seconds  # it came to its end before: the machine has become faster
            shutil.rmtree(place)
        found.setdefault((name, signal_name), []).append(outcome)
        if not outcome.wrong:
            shutil.rmtree(place, ignore_errors=True)
    return found


def table(found: Mapping[tuple[str, str], Sequence[Outcome]]) -> str:
    """How many of the tries left what an undisturbed run leaves, and how many of them were stopped before their end."""
    signals = list(dict.fromkeys(name for _, name in found))
    lines = ["| command | " + " | ".join(signals) + " |", "|---" * (len(signals) + 1) + "|"]
    for command in dict.fromkeys(name for name, _ in found):
        cells = []
        for name in signals:
            outcomes = found.get((command, name), [])
            good, stopped = sum(not one.wrong for one in outcomes), sum(one.code != 0 for one in outcomes)
            cells.append(f"{good} of {len(outcomes)} ({stopped})")
        lines.append(f"| `{command}` | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=25, help="of each command with each signal")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--commands", nargs="+", choices=list(TRIED), default=list(TRIED))
    parser.add_argument("--signals", nargs="+", choices=list(SIGNALS), default=list(SIGNALS))
    parser.add_argument("--spawn", action="store_true", help="start processes instead of forking them")
    parser.add_argument("--output", type=Path, required=True, help="a folder for the tries; those that went wrong stay")
    given = parser.parse_args()
    print(f"seed {given.seed}, {given.tries} tries", flush=True)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
    import_all()
    found = try_all(given.commands, given.signals, given.tries, given.seed, given.output, given.spawn)
    print(table(found))
    if any(one.wrong for outcomes in found.values() for one in outcomes):
        sys.exit(1)


if __name__ == "__main__":
    main()
