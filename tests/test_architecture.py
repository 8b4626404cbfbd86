"""Who may import whom: the rules of the house, held by walking the imports."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "layerprobe"

EVERYONE = {"types", "errors", "layerprobe"}  # layerprobe: the package itself, for its version
ROOMS = {
    "types": {"errors"},
    "errors": set(),
    "devices": set(),
    "models": set(),
    "data": set(),
    "geometry": set(),
    "resolve": {"models", "data"},
    "features": {"models", "data", "resolve", "devices"},
    "grams": {"features", "geometry", "devices"},
    "ranking": {"models", "features", "geometry", "grams"},
    "distill": {"models", "data", "features", "resolve", "devices"},
    "report": set(),
    "experiments": {
        "models", "data", "geometry", "resolve", "features", "grams", "ranking", "distill", "report", "devices",
    },
    "cli": {
        "models", "data", "geometry", "resolve", "features", "grams", "ranking", "distill", "report", "experiments",
        "devices",
    },
}  # fmt: skip
LIBRARIES = {
    "h5py": {"features"},
    "matplotlib": {"report"},
    "jinja2": {"report"},
    "typer": {"cli"},
    "rich": {"cli", "report"},
    "accelerate": {"distill", "features/processes.py"},
}
MODULES = sorted(
    path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem not in {"__init__", "__main__"}
)


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            names.add(node.module or "")
    return names


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms_import_only_what_they_may(path: Path) -> None:
    room = room_of(path)
    ours = {
        name.split(".")[1] if "." in name else name for name in imported(path) if name.split(".")[0] == "layerprobe"
    }
    assert ours <= ROOMS[room] | EVERYONE | {room}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_library_stays_in_its_room(path: Path) -> None:
    place = path.relative_to(PACKAGE).as_posix()
    for name in imported(path):
        library = name.split(".")[0]
        if library in LIBRARIES:
            assert any(place.startswith(room) for room in LIBRARIES[library]), f"{place} imports {library}"


def test_the_walk_sees_the_imports() -> None:
    assert "layerprobe.geometry.quality" in imported(PACKAGE / "ranking" / "measure.py")
    assert {room_of(path) for path in MODULES} == set(ROOMS)
