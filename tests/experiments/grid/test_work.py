"""Workers that share a grid's folder: every cell is run once, whoever dies."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import yaml

from layerprobe.distill.folder import OtherRunError
from layerprobe.errors import LayerprobeError
from layerprobe.experiments.grid.compare import compare, open_grid, plan_grid, write_grid
from layerprobe.experiments.grid.estimate import estimate_seconds
from layerprobe.experiments.grid.grid_file import load_grid, parse_grid
from layerprobe.experiments.grid.launchers import LAUNCHERS, WORKER, Launch, Launched, start_local, start_slurm
from layerprobe.experiments.grid.results import GridReader, claims, forget_failures, mark_failed, read_grid
from layerprobe.experiments.grid.work import WorkerEndsError, is_of_accelerator, work
from layerprobe.experiments.grid.worker import run_worker
from layerprobe.files import is_temporary, temporary_name
from layerprobe.locks import HeldError
from layerprobe.records import GridResults
from layerprobe.settings.compare import CompareSettings
from layerprobe.settings.run import DistillSettings


def run(grid: Path, folder: Path, **options: object) -> GridResults:
    return compare(CompareSettings(grid=grid, output=folder, **options), lambda cell, metrics, epochs: None).results


def states(results: GridResults) -> list[str]:
    return [result.state for result in results.results]


def test_a_killed_workers_cell_goes_on_and_every_cell_is_done_once(grid_file: Path, tmp_path: Path) -> None:
    folder = tmp_path / "grid"
    write_grid(load_grid(grid_file), folder)
    with (tmp_path / "killed.log").open("wb") as log:
        killed = subprocess.Popen([sys.executable, "-m", WORKER, str(folder)], stderr=log)
    while not list(folder.glob("runs/*/*/**/checkpoints/latest")):
        assert killed.poll() is None, (tmp_path / "killed.log").read_text()
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    begun = [path.parent for path in folder.glob("runs/**/checkpoints")]
    assert len(begun) == 1 and not (begun[0] / "result.json").exists()

    looks: list[GridResults] = []
    config = CompareSettings(grid=grid_file, output=folder, jobs=2)
    results = compare(config, lambda cell, metrics, epochs: None, watch=looks.append).results
    assert states(results) == ["done"] * 6 and states(looks[-1]) == ["done"] * 6
    cells = {result.cell.path: result for result in results.results}
    goes_on = cells[begun[0].relative_to(folder).as_posix()].run
    assert goes_on and goes_on.resumed_after and goes_on.resumed_after[0] >= 1
    taken = [claims(folder).latest(path.replace("/", "__")) for path in cells]
    assert sorted(taken) == [1, 1, 1, 1, 1, 2]
    logs = [path.read_text() for path in sorted((folder / "log").glob("*.log"))]
    assert len(logs) == 2 and sum(log.count("epoch 3/3") for log in logs) == 6
    for path, result in cells.items():
        assert result.run and [metrics.epoch for metrics in result.run.epochs] == [1, 2, 3]
        assert sum(log.count(f": {path}\n") for log in logs) == 1  # announced by one of the two


def test_a_failure_does_not_stop_the_rest_and_is_tried_again(
    grid_values: dict[str, object], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pairs = grid_values["pairs"]
    assert isinstance(pairs, dict)
    broken = {**pairs["A to B"], "teacher": {"name": "cifar:resnet20", "weights": str(tmp_path / "later.safetensors")}}
    values = {**grid_values, "pairs": {"broken": broken, **pairs}, "methods": ["kd"], "reference": "kd", "seeds": 1}
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(values, sort_keys=False))
    results = run(tmp_path / "grid.yaml", tmp_path / "grid")
    assert states(results) == ["failed", "done"]
    assert "later.safetensors" in results.results[0].reason and "kd/seed-0 failed: the weights file" in caplog.text
    good = results.results[1].run
    assert good
    before = good.weights.stat().st_mtime_ns
    (tmp_path / "later.safetensors").write_bytes(Path(pairs["A to B"]["teacher"]["weights"]).read_bytes())
    assert states(run(tmp_path / "grid.yaml", tmp_path / "grid")) == ["done", "done"]
    assert good.weights.stat().st_mtime_ns == before  # a finished cell is never run again


def explode(*args: object) -> None:
    raise ZeroDivisionError("of a kind")


def touch_result(plan: DistillSettings, *args: object) -> None:
    """What a grid needs to see of a run that came to its end."""
    plan.output.mkdir(parents=True)
    (plan.output / "result.json").touch()


def die(folder: Path, path: str) -> None:
    """What a worker leaves that was killed in a cell."""
    claim = claims(folder).take(path.replace("/", "__"))
    assert claim
    file = folder / "claims" / f"{claim.name}.{claim.number}"
    file.write_text(json.dumps({**json.loads(file.read_text()), "start": 1}))  # its number is another process's now


def test_a_bug_in_one_cell_is_kept_with_its_traceback_and_three_in_a_row_end_the_worker(
    grid_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layerprobe.experiments.grid.work.distill_student", explode)
    for _ in range(2):  # the second command begins with the cells that the first one didn't come to
        with pytest.raises(
            LayerprobeError,
            match=r"a worker ended after runs/.* had failed \(ZeroDivisionError: of a kind\); 3 cells are left; the",
        ):
            run(grid_file, tmp_path / "grid")
        results = read_grid(tmp_path / "grid").results
        assert [result.reason for result in results if result.state == "failed"] == ["ZeroDivisionError: of a kind"] * 3
    assert len(list((tmp_path / "grid" / "failures").glob("*.before"))) == 3
    assert {path.stem for path in (tmp_path / "grid" / "failures").iterdir()} == {
        result.cell.path.replace("/", "__") for result in results
    }
    file = next((tmp_path / "grid" / "failures").glob("*.json"))
    assert "explode" in json.loads(file.read_text())["traceback"]


def test_an_error_of_the_accelerator_fails_one_cell_and_ends_the_worker(
    grid_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fault(*args: object) -> None:
        raise RuntimeError("CUDA error: an illegal memory access was encountered")

    monkeypatch.setattr("layerprobe.experiments.grid.work.distill_student", fault)
    grid = load_grid(grid_file)
    with pytest.raises(WorkerEndsError, match=r"scratch/seed-0 had failed \(RuntimeError: CUDA error: an illegal"):
        work(grid, tmp_path / "grid")
    assert states(GridReader(grid, tmp_path / "grid").read()) == ["failed", *["waiting"] * 5]
    assert not is_of_accelerator(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    if hasattr(torch, "AcceleratorError"):
        assert is_of_accelerator(torch.AcceleratorError("of another make"))


def test_a_cell_that_kills_its_workers_comes_last_and_is_given_up(
    grid_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("layerprobe.experiments.grid.work.distill_student", touch_result)
    grid, folder = load_grid(grid_file), tmp_path / "grid"
    once, twice, *rest = (planned.cell for planned in sorted(grid.cells, key=lambda planned: planned.cell.seed))
    for cell in (once, twice, twice):
        die(folder, cell.path)
    assert work(grid, folder) == (*rest, once)
    result = next(one for one in GridReader(grid, folder).read().results if one.cell == twice)
    assert result.state == "failed" and "its worker died 2 times; out of memory? fewer --jobs" in result.reason
    forget_failures(folder)
    assert work(grid, folder) == (twice,)


def test_what_became_of_the_workers_is_judged_by_their_cells(
    grid_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cells, folder = load_grid(grid_file).cells, tmp_path / "grid"

    def all_die(launch: Launch, watch: object) -> Launched:
        for planned in cells[1:]:
            mark_failed(folder, planned.cell.path, "why")
        die(folder, cells[0].cell.path)
        return Launched(broken="2 of 2 workers ended early (exit code -9); log says more")

    monkeypatch.setitem(LAUNCHERS, "local", all_die)
    with pytest.raises(LayerprobeError, match=r"2 of 2 workers ended early.*; 1 cell is left; the same command goes"):
        run(grid_file, folder, jobs=2)
    results = run(grid_file, folder, jobs=2).results  # the second death settles the cell
    assert "its worker died 2 times" in results[0].reason and "2 of 2 workers ended early" in caplog.text


def test_a_cell_that_something_else_writes_is_waited_for(
    grid_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    grid, folder, tried = load_grid(grid_file), tmp_path / "grid", []

    def held_at_first(plan: DistillSettings, *args: object) -> None:
        tried.append(plan.output)
        if tried.count(plan.output) < 3 and plan.output == tried[0]:
            raise HeldError(plan.output)
        touch_result(plan)

    monkeypatch.setattr("layerprobe.experiments.grid.work.distill_student", held_at_first)
    assert len(work(grid, folder, poll=0.01)) == 6 and not (folder / "failures").exists()
    assert tried[-1] == tried[-2] == tried[0] and caplog.text.count("is being written by another process") == 1


def test_labels_of_any_length_name_files(
    grid_values: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Names that fit stay what they were; of those that don't, no two are the same."""
    pairs = grid_values["pairs"]
    assert isinstance(pairs, dict)
    long = {f"{'x' * 300} {number}": pairs["A to B"] for number in (1, 2)} | {"y" * 255: pairs["A to B"]}
    values = {**grid_values, "pairs": long, "methods": ["scratch"]}
    grid, folder, tried = parse_grid(yaml.safe_dump(values), "g.yaml"), tmp_path / "grid", []

    def fail_first(plan: DistillSettings, *args: object) -> None:
        tried.append(plan.output)
        if len(tried) == 1:
            raise LayerprobeError("a reason")
        touch_result(plan)

    monkeypatch.setattr("layerprobe.experiments.grid.work.distill_student", fail_first)
    assert len(work(grid, folder)) == 5
    assert [path.stat().st_size > 0 for path in (folder / "failures").iterdir()] == [True]
    forget_failures(folder)
    assert len(work(grid, folder)) == 1 and len(tried) == 7
    names = {path.name for path in (folder / "runs").iterdir()}
    assert len(names) == 3 and "y" * 255 in names and all(len(name) <= 255 for name in names)


def test_an_interruption_frees_the_cell(grid_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("layerprobe.experiments.grid.work.distill_student", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(grid_file, tmp_path / "grid")
    assert states(read_grid(tmp_path / "grid")) == ["waiting"] * 6


def test_being_asked_to_end_frees_the_cell(grid_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, and in a worker that a scheduler started."""

    def terminate(*args: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(logging.getLogger("layerprobe"), "setLevel", lambda level: None)
    monkeypatch.setattr("layerprobe.experiments.grid.work.distill_student", terminate)
    for ask in (lambda: run(grid_file, tmp_path / "grid"), lambda: run_worker(str(tmp_path / "grid"))):
        with pytest.raises(KeyboardInterrupt):
            ask()
        assert states(read_grid(tmp_path / "grid")) == ["waiting"] * 6 and signal.getsignal(signal.SIGTERM) == before


def test_finished_runs_of_other_settings_are_not_counted(grid_values: dict[str, object], tmp_path: Path) -> None:
    values = {**grid_values, "methods": ["scratch"], "seeds": 1}
    path = tmp_path / "grid.yaml"
    path.write_text(yaml.safe_dump(values))
    run(path, tmp_path / "grid")
    common = values["common"]
    assert isinstance(common, dict)
    common["training"]["epochs"] = 4
    path.write_text(yaml.safe_dump(values))
    (result,) = run(path, tmp_path / "grid").results
    assert result.state == "failed" and "has training.epochs 3, not 4; name another --output" in result.reason
    common["training"]["epochs"] = 3
    path.write_text(yaml.safe_dump(values))
    assert states(run(path, tmp_path / "grid")) == ["done"]


def test_a_run_that_can_not_go_on_is_explained_in_words_of_the_grid(
    grid_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def other(*args: object) -> None:
        raise OtherRunError("--resume goes on", "teacher.weights_sha256 'a', not 'b'")

    monkeypatch.setattr("layerprobe.experiments.grid.work.distill_student", other)
    reason = run(grid_file, tmp_path / "grid").results[0].reason
    assert reason.startswith("the unfinished run there has teacher.weights_sha256 'a', not 'b'; name another --output")


def test_the_ranking_of_a_teacher_is_made_once(
    grid_values: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from layerprobe.experiments.grid import rankings

    made: list[object] = []
    rank = rankings.rank_model
    monkeypatch.setattr(rankings, "rank_model", lambda *a, **k: made.append(a) or rank(*a, **k))
    choices = ["quality:2", "stagewise-logme:2", "random:2"]
    values = {**grid_values, "methods": ["feature-only"], "reference": "", "choices": choices}
    grid = parse_grid(yaml.safe_dump(values), "g.yaml")
    (tmp_path / "grid").mkdir()
    work(grid, tmp_path / "grid")
    results = GridReader(grid, tmp_path / "grid").read()
    assert states(results) == ["done"] * 6 and len(made) == 1
    layers = {
        (result.cell.choice, result.cell.seed): tuple(result.run.config["layers"].split(","))
        for result in results.results
        if result.run
    }
    assert layers["quality:2", 0] == layers["quality:2", 1] != layers["random:2", 0]
    assert layers["random:2", 0] != layers["random:2", 1]


def test_a_worker_that_dies_is_reported(tmp_path: Path) -> None:
    launched = start_local(Launch(tmp_path / "nothing"))
    assert launched.broken.startswith("1 of 1 workers ended early (exit code 1)") and not launched.left
    log = (tmp_path / "nothing" / "log" / "worker-0.log").read_text()
    assert "no grid file at" in log and "Traceback" not in log


@pytest.mark.filterwarnings("ignore:subprocess .* is still running:ResourceWarning")  # submitit waits for none
def test_slurm_workers_are_an_array(grid_values: dict[str, object], tmp_path: Path) -> None:
    """submitit's own local executor stands in for Slurm."""
    grid = parse_grid(yaml.safe_dump({**grid_values, "methods": ["scratch"]}), "g.yaml")
    write_grid(grid, tmp_path / "grid")
    said = start_slurm(Launch(tmp_path / "grid", 1, {"timeout_min": "5"}), cluster="local").left
    assert said.startswith("submitted 1 worker as ") and f"layerprobe report {tmp_path / 'grid'}" in said
    deadline = time.monotonic() + 120
    while states(GridReader(grid, tmp_path / "grid").read()) != ["done"] * 2:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_without_slurm_one_line_says_so(tmp_path: Path) -> None:
    with pytest.raises(LayerprobeError, match="Slurm did not take the workers"):
        start_slurm(Launch(tmp_path))
    with pytest.raises(LayerprobeError, match="local workers take no options"):
        CompareSettings(grid=tmp_path / "g.yaml", output=tmp_path, launcher_option=("timeout_min=5",))


def test_what_is_no_grid_folder_is_refused(grid_file: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "paper.tex").touch()
    for folder, message in (("mine", "is not empty and holds no grid"), ("grid.yaml", "is a file; --output names")):
        with pytest.raises(LayerprobeError, match=message):
            run(grid_file, tmp_path / folder)
    with pytest.raises(LayerprobeError, match="holds no grid: it has no grid.yaml"):
        read_grid(tmp_path / "mine")
    for options, message in (
        ({"jobs": 0}, "jobs is at least 1, not 0"),
        ({"launcher": "slurmm"}, "launcher is one of 'local', 'slurm'; not 'slurmm'"),
        ({"launcher_option": ("timeout",)}, "launcher_option is KEY=VALUE"),
    ):
        with pytest.raises(LayerprobeError, match=message):
            CompareSettings(grid=grid_file, output=tmp_path / "g", **options)


def test_times_come_from_finished_runs_else_from_some_steps(grid_file: Path, tmp_path: Path) -> None:
    grid = load_grid(grid_file)
    fresh = estimate_seconds(grid, GridReader(grid, tmp_path / "grid").read())
    assert list(fresh) == [planned.cell.path for planned in grid.cells] and all(
        0 < took < 600 for took in fresh.values()
    )
    assert not (tmp_path / "grid").exists()
    first = [planned for planned in grid.cells if planned.cell.seed == 0][:1]
    one = parse_grid(grid.text, "g")
    work(type(one)(one.title, one.reference, tuple(first), {}, one.text), tmp_path / "grid")
    known = estimate_seconds(grid, GridReader(grid, tmp_path / "grid").read())
    done = GridReader(grid, tmp_path / "grid").read().results[0].run
    assert done and first[0].cell.path not in known
    assert known["runs/a-to-b/scratch/seed-1"] == done.total_seconds


def test_a_second_sample_for_the_whole_grid_is_no_news_of_cells_whose_rule_measures_nothing(
    grid_values: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plans: list[DistillSettings] = []

    def remember(plan: DistillSettings, *others: object) -> None:
        plans.append(plan)
        raise LayerprobeError("not run")

    monkeypatch.setattr("layerprobe.experiments.grid.work.distill_student", remember)
    common = {**grid_values["common"], "spectrum_samples": 20}  # type: ignore[dict-item]
    grid = parse_grid(yaml.safe_dump({**grid_values, "common": common, "seeds": 1}), "g")
    work(grid, tmp_path / "grid")
    assert [plan.spectrum_samples for plan in plans] == [20] * 3
    assert [bool(plan.layers and plan.layers.names) for plan in plans] == [False, True, True]
    assert "--spectrum-samples" not in caplog.text


def test_times_of_batches_smaller_than_the_classes_and_of_schedules_with_milestones(tmp_path: Path) -> None:
    text = """
common: {preset: paper-240, data: {name: digits}, training: {batch_size: 3, device: cpu}}
pairs: {A to B: {teacher: {name: "cifar:resnet20", weights: random}, student: {name: "cifar:resnet20"}}}
methods: [scratch]
"""
    grid = parse_grid(text, "g")
    (took,) = estimate_seconds(grid, GridReader(grid, tmp_path / "grid").read()).values()
    assert took > 240 * 1438 * 1e-6  # epochs, digits to train on, and no step takes less than that for an image


def test_times_are_those_of_a_worker_with_its_share_of_the_cores(
    grid_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[int] = []
    monkeypatch.setattr(
        "layerprobe.experiments.grid.estimate._timed", lambda planned: threads.append(torch.get_num_threads()) or 1.0
    )
    monkeypatch.setattr("layerprobe.experiments.grid.estimate.share_of_cores", lambda jobs: 12 // jobs)
    grid, before = load_grid(grid_file), torch.get_num_threads()
    torch.set_num_threads(12)
    try:
        for jobs in (1, 4):
            estimate_seconds(grid, GridReader(grid, tmp_path / "grid").read(), jobs=jobs)
            assert torch.get_num_threads() == 12
    finally:
        torch.set_num_threads(before)
    assert threads == [12] * 3 + [3] * 3


def test_a_grid_file_is_written_where_it_differs_and_by_many_at_once(
    grid_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grid, folder = load_grid(grid_file), tmp_path / "grid"
    partials: list[Path] = []
    replace = Path.replace
    monkeypatch.setattr(Path, "replace", lambda self, target: partials.append(self) or replace(self, target))
    write_grid(grid, folder)
    write_grid(grid, folder)
    assert [path.parent for path in partials] == [folder] and is_temporary(partials[0])
    assert temporary_name(folder / "grid.yaml") not in (partials[0], temporary_name(folder / "grid.yaml"))
    assert [path.name for path in folder.iterdir()] == ["grid.yaml"]
    (folder / "grid.yaml").rename(temporary_name(folder / "grid.yaml"))  # another command is just writing it
    assert open_grid(CompareSettings(grid=grid_file, output=folder)).text == grid.text


def test_another_grid_does_not_replace_one_with_runs(grid_values: dict[str, object], tmp_path: Path) -> None:
    """New cells are welcome, and cells that were never run may go."""
    folder = tmp_path / "grid"

    def file(**values: object) -> Path:
        (tmp_path / "g.yaml").write_text(yaml.safe_dump({**grid_values, "reference": "", **values}))
        return tmp_path / "g.yaml"

    write_grid(load_grid(file(methods=["scratch", "kd"], seeds=1)), folder)
    write_grid(load_grid(file(methods=["scratch"], seeds=2)), folder)
    claim = claims(folder).take("runs__a-to-b__scratch__seed-0")
    assert claim
    with claim.kept():
        for act in (
            lambda grid: plan_grid(CompareSettings(grid=grid, output=folder)),
            lambda grid: write_grid(load_grid(grid), folder),
        ):
            with pytest.raises(
                LayerprobeError, match="holds another grid, of which runs/a-to-b/scratch/seed-0 would be in no report"
            ):
                act(file(methods=["kd"]))
        write_grid(load_grid(file(methods=["scratch", "kd"])), folder)
    (folder / "grid.yaml").write_text("pairs: {}")  # nothing can be reported of that
    write_grid(load_grid(file(methods=["kd"])), folder)


def test_nothing_is_run_where_nothing_says_which_layers(grid_values: dict[str, object], tmp_path: Path) -> None:
    for validate, message in (
        ({"layers": "all"}, "v.yaml has a key 'validate' and leaves the choice of layers to it; `layerprobe validate`"),
        (None, "v.yaml: feature-only needs the teacher's layers; say how to choose them, e.g. choices"),
    ):
        (tmp_path / "v.yaml").write_text(yaml.safe_dump({**grid_values, "choices": [], "validate": validate}))
        with pytest.raises(LayerprobeError, match=message):
            run(tmp_path / "v.yaml", tmp_path / "grid")
    assert not (tmp_path / "grid").exists()


def test_marks_of_failure_stay_until_they_are_forgotten(grid_file: Path, tmp_path: Path) -> None:
    grid = load_grid(grid_file)
    mark_failed(tmp_path / "grid", grid.cells[0].cell.path, "why")
    result = GridReader(grid, tmp_path / "grid").read().results[0]
    assert (result.state, result.reason) == ("failed", "why")
