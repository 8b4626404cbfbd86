"""HTML read as a browser would, and a browser where there is one."""

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

_VOID = {"meta", "link", "br", "hr", "img", "input"}
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Seen(HTMLParser):
    """Every element of a page in order, with the text directly in it."""

    elements: list[Element] = field(default_factory=list)
    unclosed: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attributes}))
        if tag not in _VOID:
            self.unclosed.append(self.elements[-1])

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attributes}))

    def handle_endtag(self, tag: str) -> None:
        assert self.unclosed and self.unclosed[-1].tag == tag, f"</{tag}> closes {self.unclosed[-1:]}"
        self.unclosed.pop()

    def handle_data(self, data: str) -> None:
        if self.unclosed:
            self.unclosed[-1].text += data

    def all(self, tag: str) -> list[Element]:
        return [element for element in self.elements if element.tag == tag]


def read_page(text: str) -> Seen:
    seen = Seen()
    seen.feed(text)
    seen.close()
    assert not seen.unclosed
    return seen


@dataclass(frozen=True)
class Rendered:
    """What a browser made of a page: its elements after the scripts ran, and what they complained of."""

    dom: str
    complaints: list[str]


def browse(page: Path, *options: str) -> Rendered:
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [
                str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={profile}",
                "--enable-logging=stderr", "--virtual-time-budget=2000", "--dump-dom", *options,
                page.resolve().as_uri(),
            ],
            capture_output=True, text=True, timeout=120, check=True,
        )  # fmt: skip
    return Rendered(done.stdout, re.findall(r".*CONSOLE.*", done.stderr))
