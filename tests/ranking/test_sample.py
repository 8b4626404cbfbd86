"""What a sample permits is said before features are read; what speaks against a ranking stands below its table."""

from pathlib import Path

import numpy as np
import pytest
import torch

from layerprobe.errors import LayerprobeError
from layerprobe.features.hdf5.gram_file import GramFile, write_grams
from layerprobe.features.hdf5.layout import FilePlan
from layerprobe.geometry.gram import gram_matrix
from layerprobe.ranking.rank import chosen_layers, rank
from layerprobe.ranking.rank_files import rank_files
from layerprobe.records import Layer, LayerGeometry, Ranking, StoredLayer
from layerprobe.records.cautions import cautions
from layerprobe.settings.layer_choice import LayerChoice
from layerprobe.settings.rank import RankSettings
from tests.helpers.feature_files import provenance


def gram_file(path: Path, sizes: list[int], d: int = 8, indices: tuple[int, ...] = (0, 1)) -> GramFile:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    layers = [StoredLayer(Layer(index, f"block{index}", "block", (d,), index), (d,)) for index in indices]
    n, classes = len(labels), [f"c{number}" for number in range(len(sizes))]
    plan = FilePlan(tuple(layers), "float32", labels, np.arange(n), None, classes, provenance(population=n))
    generator = torch.Generator().manual_seed(0)
    grams = [
        (one, gram_matrix([torch.randn(n, d, generator=generator)], torch.from_numpy(labels), n)) for one in layers
    ]
    write_grams(path, plan, grams)
    return GramFile(path)


@pytest.mark.parametrize(
    ("sizes", "by", "said"),
    [
        ([1] * 12, "quality", "the intra-class cosine needs 2 images of every class, and 12 of 12 classes have fewer"),
        ([5, 1, 3], "information", "the least intra-class cosine needs 2 images of every class, and 1 of 3 classes"),
        ([2, 2], "quality-normalised", "the relative entropy needs 3 images of every class, and 2 of 2 classes"),
        ([9], "efficiency", "the class gap needs 2 classes, and the sample has 1"),
        ([9], "nc1", "the neural collapse needs 2 classes, and the sample has 1"),
    ],
)
def test_a_score_that_no_layer_can_have_is_refused_before_the_work(
    sizes: list[int], by: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with gram_file(tmp_path / "g.h5", sizes) as file:
        monkeypatch.setattr(GramFile, "gram", lambda *_: pytest.fail("features were read"))
        with pytest.raises(LayerprobeError, match=f"--by {by}: {said}.*; this sample allows .*depth"):
            rank(file, 1, by=by)


def test_other_scores_of_such_a_sample_stand(tmp_path: Path) -> None:
    with gram_file(tmp_path / "g.h5", [1] * 6) as file:
        assert rank(file, 1, by="efficiency", resamples=0).selected


@pytest.mark.parametrize(("sizes", "said"), [([3, 5], True), ([4, 4], False)])
def test_intervals_of_fewer_than_four_images_are_declined(
    sizes: list[int], said: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    gram_file(tmp_path / "g.h5", sizes).close()
    settings = RankSettings(features=(tmp_path / "g.h5",), top=1, resamples=8, cache=False)
    (ranking,) = rank_files(settings).rankings
    assert caplog.text.count("there are no intervals: the smallest class of") == said
    assert ("resamples" not in ranking.provenance) == said
    assert all(bool(one.intervals) != said and (one.top_share is None) == said for one in ranking.geometries)
    again = rank_files(settings)
    assert not again.files and not again.others and "was not changed" not in caplog.text


def test_layers_are_left_out_by_name_and_by_index_in_the_network(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with gram_file(tmp_path / "g.h5", [6, 6], indices=(1, 4, 6, 7)) as file:
        whole = rank(file, 1, resamples=8)
        for text, names in (
            ("block4,block7", ["block4", "block7"]),
            ("4", ["block4"]),
            ("2-6", ["block4", "block6"]),
            ("block[16]", ["block1", "block6"]),
            ("-1", ["block7"]),
            ("every:3", ["block6"]),
        ):
            found = rank(file, 1, resamples=8, layers=LayerChoice.parse(text))
            assert [one.layer.name for one in found.geometries] == names
            for one in found.geometries:  # the depth in the network too
                assert one.statistics == next(g for g in whole.geometries if g.layer == one.layer).statistics
        with pytest.raises(LayerprobeError, match=r"holds none of the layers 5; `layerprobe inspect .*` lists"):
            chosen_layers(file, LayerChoice.parse("5"))
        with pytest.raises(
            LayerprobeError, match=r"layer 'blok4' is not in .*; closest: 'block4'.*`layerprobe inspect"
        ):
            chosen_layers(file, LayerChoice.parse("blok4"))
        with pytest.raises(LayerprobeError, match="--top is 3, but"):
            rank(file, 3, layers=LayerChoice.parse("4,6"))
    settings = RankSettings(features=(tmp_path / "g.h5",), top=1, resamples=8)
    rank_files(settings)
    other = rank_files(settings.replaced(layers=LayerChoice.parse("1,4")))
    assert len(other.others) == 1 and "it holds a ranking of 4 layers" in caplog.text


def ranking(entropies: list[float], **source: object) -> Ranking:
    layers = tuple(
        LayerGeometry(Layer(index, f"b{index}", "block", (8,), 0), {"quality": 1.0, "relative-entropy": share})
        for index, share in enumerate(entropies)
    )
    return Ranking(layers, "quality", ("b0",), {"weights": "w.pth", "sample": {"per_class": 50}, **source})


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (ranking([0.5, 0.96]), ["saturated information: in 1 of 2 layers"]),
        (ranking([0.5, 0.94]), []),
        (ranking([0.5, 0.5, 0.99]), []),
        (ranking([0.5], sample={"per_class": 19}), ["few images: the smallest class has 19; with fewer than 20"]),
        (
            ranking([0.5], sample={"fewest_per_class": 3, "most_per_class": 90}),
            ["few images: the smallest class has 3"],
        ),
        (ranking([0.5], sample={"how": "every image", "images": 40}), []),
        (ranking([0.5], weights="random"), ["the weights are random"]),
        (ranking([]), []),
    ],
)
def test_what_speaks_against_a_ranking_is_said_in_one_line_each(found: Ranking, said: list[str]) -> None:
    lines = cautions(found)
    assert len(lines) == len(said) and all(line.startswith(start) for line, start in zip(lines, said, strict=True))
