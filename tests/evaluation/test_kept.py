"""The file of a kept evaluation: every field is checked when it is read."""

import json
import re
from pathlib import Path

import pytest

from layerprobe.errors import LayerprobeError
from layerprobe.evaluation.kept import read_feature_evaluations
from layerprobe.records import Agreement, Estimate, FeatureEvaluation, Score
from tests.helpers.malformed import refused, spoiled

ONE = Estimate(50.0, 40.0, 60.0, 20)
FOUND = FeatureEvaluation(
    name="run",
    dataset="photos",
    split="test",
    classes=("cat", "dog"),
    train_images=30,
    scores=(Score("knn", "fc.input", 64, {"k": 20.0, "votes": "weighted"}, ONE, (ONE, ONE), 0.5),),
    agreement=(Agreement("layer3", "layer4", ONE, ONE),),
)
OPTIONAL = (
    r"found\.(level|resamples|seed|agreement(\.0\.cosine)?|scores|train_images)|.*\.(value|low|high)|.*\.facts(\..*)?"
)
TEXT = json.dumps({"format": "layerprobe-evaluation", "version": 1, "of": "x", "found": FOUND.to_dict()})


def test_every_field_is_checked(tmp_path: Path) -> None:
    file = tmp_path / "evaluation.json"
    values = {
        "format": "layerprobe-evaluation",
        "version": 1,
        "of": "x",
        "found": json.loads(json.dumps(FOUND.to_dict())),
    }
    file.write_text(json.dumps(values))
    assert read_feature_evaluations(tmp_path) == {"on all test images": FOUND}
    passed, count = [], 0
    for place, what, changed in spoiled(values):
        count += 1
        file.write_bytes(json.dumps(changed).encode("utf-8", "surrogatepass"))
        dotted, field = ".".join(map(str, place)), str(place[-1]) if place else ""
        fact = re.fullmatch(r".*\.facts\.\w+", dotted) and what in ("'x'", "-1", "1.5")  # numbers or text
        optional = fact or (re.fullmatch(OPTIONAL, dotted) and what in ("None", "dropped", "nan", "{}", "[]"))
        if not optional and not refused(read_feature_evaluations, tmp_path, file, field, *map(str, place[-2:-1])):
            passed.append(f"{dotted}: {what}")
    assert not passed, passed
    assert count > 100


def test_an_unknown_way_is_refused(tmp_path: Path) -> None:
    (tmp_path / "evaluation-a.json").write_text(TEXT.replace('"knn"', '"svm"'))
    with pytest.raises(LayerprobeError, match="by must be one of classifier, knn, .* not 'svm'; `layerprobe evaluate"):
        read_feature_evaluations(tmp_path)
