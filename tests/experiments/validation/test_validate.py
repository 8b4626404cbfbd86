"""A validation end to end, and each of its parts against another way to the same number."""

import json
import math
import re
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from layerprobe.errors import LayerprobeError
from layerprobe.experiments.grid.grid_file import parse_grid
from layerprobe.experiments.validation.candidates import spread_out
from layerprobe.experiments.validation.results import read_validation
from layerprobe.experiments.validation.scores import LayerScore, Subject, load_scores, measure_scores, read_scores
from layerprobe.experiments.validation.validate import prepare_validation, validate
from layerprobe.models.zoo import build_model
from layerprobe.ranking.grams import extract_grams
from layerprobe.ranking.rank import rank
from layerprobe.ranking.similarity import layer_similarity
from layerprobe.records import Gram, Progress, Run
from layerprobe.settings.compare import CompareSettings
from layerprobe.settings.data import DataSettings
from layerprobe.settings.extract import ExtractSettings
from layerprobe.settings.model import ModelSettings

DIGITS = DataSettings(name="digits", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


def values(teacher: Run | None = None, **changes: object) -> dict[str, object]:
    weights = str(teacher.weights) if teacher else "t.th"
    return {
        "common": {
            "data": {"name": "digits"},
            "training": {"epochs": 1, "batch_size": 30, "train_samples": 60, "test_samples": 50, "device": "cpu"},
        },
        "pairs": {
            "A to B": {"teacher": {"name": "cifar:resnet20", "weights": weights}, "student": {"name": "cifar:resnet20"}}
        },
        "methods": ["feature-only"],
        "validate": {"layers": "0,5,-1", "sets": 2, "size": 2, "samples": 60},
        "seeds": 2,
        **changes,
    }


def mean_length(gram: Gram) -> float:
    return float(gram.squared_norms.sqrt().mean())


def test_students_of_every_candidate_and_the_scores_that_predict_them(digits_teacher: Run, tmp_path: Path) -> None:
    (tmp_path / "v.yaml").write_text(yaml.safe_dump(values(digits_teacher), sort_keys=False))
    config, folder = CompareSettings(grid=tmp_path / "v.yaml", output=tmp_path / "out"), tmp_path / "out"
    done = validate(config, lambda cell, metrics, epochs: None, {"length": mean_length})
    found = read_validation(folder)
    assert found and [result.state for result in done.results.results] == ["done"] * 10
    alone, sets = [one for one in found.candidates if len(one.layers) == 1], found.candidates[3:]
    assert [one.layers for one in alone] == [("relu",), ("layer2.1",), ("linear.input",)]
    assert [one.depth for one in alone] == [0.0, 0.5, 1.0] and len({one.layers for one in sets}) == 2
    for candidate in found.candidates:
        runs = [one.run for one in done.results.results if one.cell.choice == "+".join(candidate.layers)]
        assert candidate.accuracies == {run.config["training"]["seed"]: run.last_accuracy for run in runs if run}
        assert all(run and run.config["layers"] == ",".join(candidate.layers) for run in runs)

    # the scores are those of `layerprobe rank`, and the CKA that of `layerprobe compare-layers`
    teacher = ModelSettings(name="cifar:resnet20", weights=str(digits_teacher.weights))
    student = ModelSettings(name="cifar:resnet20", weights="random")
    with (
        extract_grams(
            ExtractSettings(model=teacher, data=DIGITS, output=tmp_path / "t.h5", samples=60, device="cpu")
        ) as ours,
        extract_grams(
            ExtractSettings(model=student, data=DIGITS, output=tmp_path / "s.h5", samples=60, device="cpu")
        ) as theirs,
    ):
        ranking = {one.layer.name: one.statistics for one in rank(ours, resamples=0, statistics=("logme",)).geometries}
        similarity = layer_similarity(ours, theirs)
    rows = {layer.name: number for number, layer in enumerate(similarity.first)}
    columns = {layer.name: number for number, layer in enumerate(similarity.second)}
    for one in found.candidates:
        taught = ["layer3.2"] if len(one.layers) == 1 else ["layer2.1", "layer3.2"]
        cka = [similarity.cka[rows[a], columns[b]] for a, b in zip(one.layers, taught, strict=True)]
        expected = {
            "quality": sum(ranking[name]["quality"] for name in one.layers) / len(one.layers),
            "logme": sum(ranking[name]["logme"] for name in one.layers) / len(one.layers),
            "cka-to-student": float(sum(cka)) / len(cka),
        }
        assert {name: one.scores[name] for name in expected} == pytest.approx(expected, rel=1e-6)
        assert one.scores["length"] > 0 and one.scores["depth"] == one.depth
    groups = {(one.group, one.candidates) for one in found.correlations}
    assert groups == {("single layers", 3), ("sets of 2", 2)}
    assert all(math.isnan(one.spearman) for one in found.correlations if one.group == "sets of 2")


def test_scores_are_measured_once_and_nothing_is_run_again(
    digits_teacher: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = values(digits_teacher, validate={"layers": [-1], "samples": 60}, seeds=1)
    (tmp_path / "v.yaml").write_text(yaml.safe_dump(told))
    config = CompareSettings(grid=tmp_path / "v.yaml", output=tmp_path / "out")
    first = validate(config, lambda cell, metrics, epochs: None)
    monkeypatch.setattr("layerprobe.experiments.validation.validate.measure_scores", None)
    monkeypatch.setattr("layerprobe.experiments.grid.work.distill_student", None)
    again = validate(config, lambda cell, metrics, epochs: None)
    assert again.results.results == first.results.results
    scores = tmp_path / "out" / "scores.json"
    kept = json.loads(scores.read_text())
    kept["scores"]["linear.input"]["logme"] = None
    scores.write_text(json.dumps(kept))
    found = read_validation(tmp_path / "out")
    assert found and math.isnan(found.candidates[0].scores["logme"])
    assert {one.score: one.candidates for one in found.correlations}["logme"] == 0
    scores.write_text("{}")
    with pytest.raises(LayerprobeError, match="scores.json has no scores; remove it"):
        read_validation(tmp_path / "out")


def spread(**changes: object):
    return spread_out(parse_grid(yaml.safe_dump(values(**changes), sort_keys=False), "v.yaml"), "v.yaml")


def test_candidates_are_layers_alone_and_sets_no_two_alike() -> None:
    grid = spread(validate={"layers": "layer3.*", "sets": 30, "size": 3}, seeds=1)
    choices = [planned.cell.choice for planned in grid.cells]
    assert choices[:3] == ["layer3.0", "layer3.1", "layer3.2"] and len(set(choices)) == 33
    assert all(len(planned.settings.layers.names) == 3 for planned in grid.cells[3:])
    everything = spread(validate={"sets": 500, "size": 8}, seeds=1)  # there are 9 sets of 8 of 9 blocks
    assert len(everything.cells) == 11 + 9


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"choices": ["even:4"]}, "validate makes the choices of layers itself; remove the key 'choices'"),
        ({"methods": ["feature-only", "kd"]}, "takes methods whose layers are chosen, like feature-only; not kd"),
        ({"validate": {"layer": "all"}}, "there is no setting 'validate.layer'; closest: 'layers'"),
        ({"validate": {"sets": "many"}}, "validate.sets is a whole number, not 'many'"),
        ({"validate": {"sets": 1, "size": 10}}, "the teacher has 9 blocks, fewer than validate.size 10"),
        ({"validate": {"layers": "layer9"}}, "layer 'layer9' is not in v.yaml"),
        (
            {"pairs": {n: {"teacher": {"name": f"cifar:resnet{n}"}, "student": {"name": "s"}} for n in (20, 56)}},
            "validate takes one teacher, not cifar:resnet20, cifar:resnet56; make a file for each",
        ),
        (
            {"pairs": {w: {"teacher": {"name": "t", "weights": w}, "student": {"name": "s"}} for w in "ab"}},
            "validate takes one teacher, not t (weights a), t (weights b); make a file for each",
        ),
        (
            {"datasets": {"digits": {}, "small": {"data": {"image_size": 16}}}},
            "validate takes one data set, not digits, digits (image_size 16); make a file for each",
        ),
        (
            {"datasets": {"a": {"data": {"name": "a/"}}, "b": {"data": {"name": "b/"}}}},
            "validate takes one data set, not a/, b/; make a file for each",
        ),
        (
            {"methods": {"a": {"method": "feature-only"}, "b": {"method": "feature-only", "student": {"name": "s"}}}},
            "validate takes one student in A to B, not cifar:resnet20, s; make a file for each",
        ),
        (
            {"methods": {"a": {"method": "feature-only"}, "b": {"method": "feature-only", "student_layers": ["x"]}}},
            "validate takes one student in A to B, not cifar:resnet20, cifar:resnet20 at x; make a file for each",
        ),
    ],
)  # fmt: skip
def test_what_can_not_be_is_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(LayerprobeError, match=re.escape(message)):
        spread(**changes)


def test_data_sets_may_differ_in_how_many_images_are_trained_on() -> None:
    assert spread(datasets={"all": {}, "few": {"training": {"train_samples": 30}}}, seeds=1)


def test_scores_of_something_else_are_measured_again(
    digits_teacher: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scores lie there, and no student is trained: what changes is what they are asked of."""
    counted: list[Subject] = []

    def measured(subject: Subject, progress: Progress) -> dict[str, object]:
        counted.append(subject)
        return measure_scores(subject, progress)

    monkeypatch.setattr("layerprobe.experiments.validation.validate.measure_scores", measured)

    def measures(own: dict[str, LayerScore] | None = None, **changes: object) -> bool:
        before = len(counted)
        (tmp_path / "v.yaml").write_text(yaml.safe_dump(values(digits_teacher, **changes)))
        prepare_validation(CompareSettings(grid=tmp_path / "v.yaml", output=tmp_path / "out"), own)
        assert read_validation(tmp_path / "out")
        return len(counted) > before

    plan = {"layers": [-1], "sets": 1, "size": 2, "samples": 20}
    assert measures({"length": mean_length}, validate=plan) and not measures({"length": mean_length}, validate=plan)
    assert not measures(validate=plan)  # a score more than is asked for
    assert measures(validate={**plan, "samples": 30})
    assert measures({"length": mean_length}, validate={**plan, "samples": 30})
    plan = {"layers": [-1], "samples": 20}
    assert measures(validate=plan)
    assert measures(validate={**plan, "sets": 1, "size": 3})  # sets of another size
    teacher = {"name": "cifar:resnet20", "weights": str(digits_teacher.weights)}
    pairs = {"A to B": {"teacher": teacher, "student": {"name": "cifar:resnet20"}}}
    assert measures(
        validate=plan, pairs={**pairs, "A to C": {**pairs["A to B"], "student": {"name": "cifar:resnet32"}}}
    )
    assert measures(validate=plan, pairs=pairs)
    other = {**teacher, "weights": str(tmp_path / "moved.safetensors")}
    shutil.copy(digits_teacher.weights, other["weights"])
    assert not measures(validate=plan, pairs={"A to B": {**pairs["A to B"], "teacher": other}})  # only its place
    torch.save(build_model("cifar:resnet20", num_classes=10, seed=1).state_dict(), tmp_path / "o.pt")
    other = {**teacher, "weights": str(tmp_path / "o.pt")}
    assert measures(validate=plan, pairs={"A to B": {**pairs["A to B"], "teacher": other}})


def test_scores_that_lack_a_candidate_are_refused(digits_teacher: Run, tmp_path: Path) -> None:
    """A grid file that was changed, or a run that was stopped, between the grid and its scores."""
    (tmp_path / "v.yaml").write_text(yaml.safe_dump(values(digits_teacher, validate={"layers": [-1], "samples": 20})))
    prepare_validation(CompareSettings(grid=tmp_path / "v.yaml", output=tmp_path / "out"))
    file = tmp_path / "out" / "grid.yaml"
    whole = yaml.safe_load(file.read_text())
    pair = whole["pairs"]["A to B"]
    for changes, missing in (
        ({"pairs": {"A to B": pair, "A to C": pair}}, "linear.input for A to C"),
        ({"choices": {"a": {"layers": ["layer1.0"]}}}, "layer1.0 for A to B"),
        ({"choices": {"a": {"layers": ["linear.input", "linear.input"]}}}, "linear.input for A to B"),
    ):
        file.write_text(yaml.safe_dump({**whole, **changes}))
        with pytest.raises(LayerprobeError, match=f"no scores of .*{missing}, which grid.yaml asks for; run"):
            read_validation(tmp_path / "out")
    scores = tmp_path / "out" / "scores.json"
    known = json.loads(scores.read_text())
    del known["measured"]
    scores.write_text(json.dumps(known))
    file.write_text(yaml.safe_dump(whole))
    assert read_validation(tmp_path / "out")  # of an older version, which is measured again


def test_a_file_without_validate_is_refused(tmp_path: Path) -> None:
    told = values()
    del told["validate"]
    (tmp_path / "g.yaml").write_text(yaml.safe_dump(told))
    with pytest.raises(LayerprobeError, match="asks for no validation: it has no key 'validate'"):
        validate(CompareSettings(grid=tmp_path / "g.yaml", output=tmp_path / "out"), lambda cell, metrics, epochs: None)
    assert not (tmp_path / "out").exists() and read_scores(tmp_path / "out") is None


def test_scores_of_the_users_own(digits_teacher: Run, tmp_path: Path) -> None:
    code = (
        "def length(gram):\n    return gram.squared_norms.mean()\n"
        "def quality(gram):\n    return 0\n"
        "def bad(gram):\n    return 1 / 0\n"
    )
    (tmp_path / "mine.py").write_text(code)
    assert list(load_scores([f"{tmp_path}/mine.py:length"])) == ["length"]
    with pytest.raises(LayerprobeError, match="there is a score 'quality' already; call the function otherwise"):
        load_scores([f"{tmp_path}/mine.py:quality"])
    with pytest.raises(LayerprobeError, match="a function of your own is FILE.py:callable, not 'length'"):
        load_scores(["length"])
    told = values(digits_teacher, validate={"layers": [-1], "samples": 60}, seeds=1)
    (tmp_path / "v.yaml").write_text(yaml.safe_dump(told))
    with pytest.raises(LayerprobeError, match=r"the score 'bad' fails for a Gram matrix \(ZeroDivisionError"):
        validate(
            CompareSettings(grid=tmp_path / "v.yaml", output=tmp_path / "out"),
            lambda cell, metrics, epochs: None,
            load_scores([f"{tmp_path}/mine.py:bad"]),
        )
    assert not (tmp_path / "out" / "grid.yaml").exists()
