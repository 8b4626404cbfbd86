"""Pages of a network, of several and of a run, read as a browser would."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from layerprobe.geometry.catalogue import STATISTICS
from layerprobe.records import Evaluation, Preprocessing, Ranking, Run
from layerprobe.records.adaptation import Adaptation
from layerprobe.records.run_files import RunDescription
from layerprobe.report.figures.catalogue import FIGURES
from layerprobe.report.html.page import Page, html_page
from layerprobe.report.pages.networks import networks_page
from layerprobe.report.pages.run import run_page
from layerprobe.report.pages.teacher import teacher_page
from layerprobe.settings.run import DistillSettings
from tests.helpers.pages import CHROMIUM, Element, Seen, browse, read_page
from tests.helpers.records import RANKING, measured_ranking, run

SHA = "ab" * 32


def whole_ranking() -> Ranking:
    """A ranking with everything that a page shows."""
    sample = {"how": "class-balanced", "per_class": 20}
    ranking = measured_ranking()
    normalised = {"information-normalised": 0.5, "quality-normalised": 0.75}
    return replace(
        ranking,
        geometries=tuple(replace(one, statistics={**one.statistics, **normalised}) for one in ranking.geometries),
        views=("spectrum", "distances", "plane"),
        provenance={**RANKING.provenance, "weights": "net.pt", "weights_sha256": SHA, "sample": sample},
    )


def distillation(**others: object) -> DistillSettings:
    """Settings of a run as its folder records them."""
    told = {
        "teacher": {"name": "cifar:resnet56", "weights": "t.pt", "weights_sha256": SHA},
        "student": {"name": "cifar:resnet20"},
        "data": {"name": "digits"},
        "layers": "layer3.5,layer3.6",
        "student_layers": "layer3.1,layer3.2",
        "output": "run",
    }
    return DistillSettings.parse({**told, **others})


def about() -> RunDescription:
    return RunDescription(
        preprocessing=Preprocessing((8, 8), (0.5,), (0.25,)), recipe="AdamW", processes=1, versions={},
        layers_from="quality:2", constants={"temperature": 4.0},
    )  # fmt: skip


def page_of_run(one: Run, settings: DistillSettings, evaluations: dict[str, Evaluation] | None = None) -> Page:
    return run_page(one, settings, about(), "from layerprobe import x", "layerprobe evaluate run", evaluations or {})


def test_a_page_says_what_was_changed_of_first_weights() -> None:
    """Names of tensors are hostile text."""
    stem = Adaptation("stem", "new, with initial weights", {"<b>conv": "64x3x7x7 -> 64x3x3x3"})
    classifier = Adaptation("classifier", "new, with initial weights", {"fc.bias": "1000 -> 10"})
    told = replace(about(), adapted=(stem, classifier), teacher_adapted=(classifier,))
    page = run_page(run("kd"), distillation(method="kd", layers=None, student_layers=None), told, "", "", {})
    (facts,) = (section.facts for section in page.sections if section.heading == "What was done")
    assert facts["Changed of its first weights"] == f"{stem}; {classifier}"
    assert facts["Changed before the teacher's training"] == str(classifier)
    assert "<b>conv" not in html_page(page) and "&lt;b&gt;conv 64x3x7x7" in html_page(page)


def rows_of(seen: Seen, ids: str) -> dict[str, dict[str, str]]:
    """Texts of a table's rows by their ids, as far as cells bear values, under the table's headings."""
    found: dict[str, dict[str, str]] = {}
    headings: list[str] = []
    row = ""
    for element in seen.elements:
        if element.tag == "thead":
            headings, row = [], ""
        elif element.tag == "th":
            headings.append(element.text)
        elif element.tag == "tr":
            row = element.attributes.get("id", "")
        elif element.tag == "td" and row.startswith(ids) and "data-value" in element.attributes:
            cells = found.setdefault(row, {})
            cells[headings[len(cells)]] = element.attributes["data-value"]
    return found


def places(seen: Seen) -> list[Element]:
    return [one for one in seen.all("a") if one.attributes.get("class") == "place"]


@pytest.fixture(scope="module")
def whole() -> Page:
    """The page of a ranking with everything; it is drawn once."""
    return teacher_page(whole_ranking())


def test_every_number_of_a_ranking_is_on_its_page(whole: Page) -> None:
    ranking = whole_ranking()
    seen = read_page(html_page(whole))
    rows = rows_of(seen, "t1-")
    assert len(rows) == len(ranking.geometries)
    for row, one in zip(rows.values(), ranking.geometries, strict=True):
        assert (row["layer"], row["kind"], row["D"]) == (one.layer.name, "block", str(int(one.statistics["dimension"])))
        for name in ("separation", "information", "efficiency", "quality", "twonn", "pca-90"):
            shown, value = row[STATISTICS[name].symbol], one.statistics[name]
            assert shown == ("" if value != value else str(value))
    assert [one.text for one in seen.all("code")] == ["--layers even-information:2", "layerprobe distill"]
    captions = [one.text for one in seen.all("figcaption")]
    assert len(captions) == len(FIGURES) and len(seen.all("svg")) == 2 * len(FIGURES)


def test_places_of_figures_lead_to_the_rows_of_their_layers(whole: Page) -> None:
    ranking = whole_ranking()
    seen = read_page(html_page(whole))
    rows = {ids: row["layer"] for ids, row in rows_of(seen, "t1-").items()}
    # Two pictures of the scores, with four panels, of the spectra and of the dimensions, with one each.
    assert len(places(seen)) == 2 * len(ranking.geometries) * (4 + 1 + 1)
    for place in places(seen):
        assert rows[place.attributes["href"][1:]] == place.attributes["aria-label"]
    areas = [area for link, area in pairwise(seen.elements) if link.attributes.get("class") == "place"]
    assert all(float(one.attributes["width"]) > 0 < float(one.attributes["height"]) for one in areas)


def test_a_place_lies_over_its_layer(whole: Page) -> None:
    """In the first panel of five layers the middle one lies in the middle, and they lie side by side."""
    (figure, *_), *_ = (section.figures for section in whole.sections if section.figures)
    for picture in figure.pictures:
        first = picture.places[:5]
        ends = [(place.left, place.left + place.width) for place in first]
        assert all(right == pytest.approx(left) for (_, right), (left, _) in pairwise(ends))
        middle = ends[2][0] + first[2].width / 2
        assert middle == pytest.approx((ends[0][0] + ends[4][1]) / 2)


def test_how_to_read_it_and_how_sure_it_is(whole: Page) -> None:
    seen = read_page(html_page(whole))
    texts = [one.text for one in seen.all("dd")]
    for name in ("separation", "information", "efficiency", "quality"):
        assert any(text.startswith(STATISTICS[name].reading) for text in texts)
    notes = " ".join(one.text for one in seen.all("li"))
    assert "90 % intervals, from 200 resamples" in notes and "Can't be told apart from layer1" in notes
    assert {SHA, "60, 20 of every class", "3: ant, bee, cat"} <= set(texts)
    without = replace(RANKING, provenance={"model": "net"})
    bare = replace(without, geometries=tuple(replace(g, intervals={}, top_share=None) for g in without.geometries))
    assert "There are no intervals" in html_page(teacher_page(bare))


def test_what_a_ranking_lacks_is_named_with_the_command() -> None:
    seen = read_page(html_page(teacher_page(RANKING, "This command does:", "layerprobe rank net.h5 --figures all")))
    assert len(seen.all("figure")) == 1
    assert any("Left out" in p.text and "spectra, dimensions, similarity" in p.text for p in seen.all("p"))
    assert [pre.text for pre in seen.all("pre")] == ["layerprobe rank net.h5 --figures all"]


def test_networks_side_by_side() -> None:
    other = replace(RANKING, provenance={**RANKING.provenance, "weights": "other.pt", "sample": {"per_class": 10}})
    seen = read_page(html_page(networks_page({"one": RANKING, "other": replace(other, selected=("layer0",))})))
    cells = [cell.text for cell in seen.all("td")]
    assert cells.count("layer0 *") == 1 and cells.count("layer1 *") == 1 and "layer3" in cells
    assert any("10 and 20 images per class" in p.text for p in seen.all("p"))
    assert len(seen.all("details")) == 2 and len(seen.all("svg")) == 2
    # Four layers of each network have a value.
    assert len(places(seen)) == 2 * 2 * 4
    rows = {**rows_of(seen, "t4-"), **rows_of(seen, "t5-")}
    for place in places(seen):
        network, layer = place.attributes["aria-label"].split(": ")
        target = place.attributes["href"][1:]
        assert rows[target]["layer"] == layer and target.startswith({"one": "t4-", "other": "t5-"}[network])


def test_networks_whose_layers_were_chosen_by_different_scores_are_compared_by_one() -> None:
    page = networks_page({"one": RANKING, "other": replace(RANKING, score="separation")})
    assert "chosen by quality and separation; they are compared by knowledge quality" in page.sections[0].text


def test_a_run() -> None:
    classes = ("ant", "bee")
    found = Evaluation("", "", "", classes, torch.tensor([[3, 1], [0, 4]]), None)
    text = html_page(page_of_run(run(accuracies=[40.0, 60.25]), distillation(), {"on the run's test images": found}))
    seen = read_page(text)
    assert seen.all("h1")[0].text == "cifar:resnet20, taught by cifar:resnet56: right on 60.25 % of the test images"
    cells = [cell.text for cell in seen.all("td")]
    for expected in ("layer3.1", "layer3.5", "layer3.6", "ant", "75.00", "87.50", "40.00", "83.00"):
        assert expected in cells, expected
    facts = " ".join(dd.text for dd in seen.all("dd"))
    assert "a feature loss at the chosen layers, nothing else" in facts and "have no influence" in facts
    assert "from layerprobe import x" in [pre.text for pre in seen.all("pre")]
    epochs = rows_of(seen, "t4-")
    assert [row["top-1, test (%)"] for row in epochs.values()] == ["40.0", "60.25"]
    assert {place.attributes["aria-label"] for place in places(seen)} == {"1", "2"}


def test_a_run_without_layers_and_without_evaluation() -> None:
    settings = distillation(method="kd", layers=None, student_layers=None)
    seen = read_page(html_page(page_of_run(run("kd"), settings)))
    said = [p.text for p in seen.all("p")]
    assert "This run pairs no layers." in said and any("The folder holds no evaluation" in text for text in said)
    assert "layerprobe evaluate run" in [pre.text for pre in seen.all("pre")]


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")
def test_a_layer_shows_its_numbers_in_a_browser(tmp_path: Path) -> None:
    press = """
    const place = document.querySelector(".wide a.place[aria-label=layer3]");
    place.dispatchEvent(new PointerEvent("pointerenter", { clientX: 10, clientY: 10 }));
    document.body.dataset.hovered = document.querySelector(".card").innerText.replaceAll(/\\s+/g, " ");
    document.body.dataset.lit = document.querySelectorAll("a.place.on").length;
    document.body.dataset.row = document.querySelector("tr.on td.key").textContent;
    place.dispatchEvent(new PointerEvent("pointerleave"));
    document.body.dataset.left = document.querySelector(".card").hidden;
    place.focus();
    place.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowLeft", bubbles: true }));
    document.body.dataset.focused = document.activeElement.getAttribute("aria-label");
    document.body.dataset.stops = document.querySelectorAll(".wide a.place[tabindex='0']").length;
    document.body.dataset.wide = document.documentElement.scrollWidth > window.innerWidth;
    """
    text = html_page(teacher_page(RANKING))
    page = tmp_path / "page.html"
    page.write_text(text.replace("</script>\n</body>", f"</script>\n<script>{press}</script>\n</body>"))
    rendered = browse(page, "--window-size=1280,900")
    assert rendered.complaints == []
    body = read_page(rendered.dom).all("body")[0].attributes
    assert body["data-hovered"].startswith("layer3 # 3 Q 1.787 [1.737, 1.887]") and "S 0.300" in body["data-hovered"]
    assert (body["data-lit"], body["data-row"], body["data-left"]) == ("8", "layer3", "true")
    assert (body["data-focused"], body["data-stops"], body["data-wide"]) == ("layer2", "2", "false")
