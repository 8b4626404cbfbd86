"""Who may import whom: the rules of the house, held by walking the imports."""

import ast
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from layerprobe.catalogue import Catalogue, load_target

PACKAGE = Path(__file__).parents[1] / "layerprobe"

EVERYONE = {"records", "errors", "version", "catalogue", "plugins", "settings", "files", "locks", "text"}
LOWEST = {
    "version": set(),
    "errors": set(),
    "text": set(),
    "locks": {"errors"},
    "files": {"errors", "locks"},
    "plugins": {"errors", "files"},
    "catalogue": {"errors", "plugins"},
    "records": {"errors"},  # not the files: they read and write nothing
}
"""What everyone may import, and which of each other they may."""
ROOMS = {
    "settings": set(),
    "runtime": set(),
    "models": set(),
    "data": set(),
    "layers": {"models"},
    "networks": {"models", "data", "layers"},
    "geometry": set(),
    "features": {"models", "data", "layers", "networks", "runtime", "geometry"},
    "ranking": {"features", "geometry", "layers", "runtime"},
    "distill": {"models", "data", "layers", "networks", "runtime", "features"},
    "evaluation": {"models", "data", "layers", "networks", "runtime", "geometry", "distill"},
    "report": set(),
    "experiments": {
        "models", "data", "layers", "networks", "geometry", "features", "ranking", "distill", "evaluation", "report",
        "runtime",
    },
    "cli": {
        "models", "data", "layers", "networks", "geometry", "features", "ranking", "distill", "evaluation", "report",
        "runtime", "experiments",
    },
}  # fmt: skip
LIBRARIES = {
    "h5py": {"features/hdf5"},
    "matplotlib": {"report"},
    "jinja2": {"report/html"},
    "typer": {"cli"},
    "rich": {"cli", "report/tables"},
    "accelerate": {"distill/engine", "distill/session.py", "runtime"},
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
    ours = {name for name in imported(path) if name.split(".")[0] == "layerprobe"}
    assert "layerprobe" not in ours, "a module imports the package's root"
    allowed = LOWEST[room] if room in LOWEST else ROOMS[room] | EVERYONE
    # Anyone may read a room's catalogue.
    ours = {name for name in ours if not re.fullmatch(r"layerprobe\.\w.*\.catalogue", name)}
    assert {name.split(".")[1] for name in ours} <= allowed | {room}


HEAVY = {"torch", "torchvision", "timm", "numpy", "scipy", "sklearn", "matplotlib", "h5py", "accelerate", "rich"}
LIGHT = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for path in MODULES
    if path.stem == "catalogue" or room_of(path) == "settings"
)


def test_settings_and_catalogues_import_nothing_heavy() -> None:
    script = f"import sys; import {', '.join(LIGHT)}; print(*{HEAVY!r}.intersection(sys.modules))"
    result = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert result.stdout.split() == []


@pytest.mark.parametrize("name", [name for name in LIGHT if name.endswith(".catalogue")])
def test_what_a_catalogue_names_is_there(name: str) -> None:
    for catalogue in vars(import_module(name)).values():
        if isinstance(catalogue, Catalogue):
            for entry in catalogue.values():
                targets = re.findall(r"layerprobe\.[\w.]+:\w+", str(vars(entry)))
                assert not entry.target or entry.target in targets
                assert all(callable(load_target(target)) for target in targets)
                assert entry.help and not entry.help.endswith(".")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_library_stays_in_its_room(path: Path) -> None:
    place = path.relative_to(PACKAGE).as_posix()
    for name in imported(path):
        library = name.split(".")[0]
        if library in LIBRARIES:
            assert any(place.startswith(room) for room in LIBRARIES[library]), f"{place} imports {library}"


def test_no_module_leads_back_to_itself() -> None:
    """Imports make no circle, those inside functions counted: within a room, and between a folder and its parent."""
    names = {
        ".".join(("layerprobe", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
        for path in PACKAGE.rglob("*.py")
    }
    above = {name: {one for one in targets(path) if one in names and one != name} for name, path in names.items()}
    while free := [name for name, needs in above.items() if not needs]:
        above = {name: needs - set(free) for name, needs in above.items() if name not in free}
    assert not above, f"these lead back to themselves: {sorted(above)[:5]}"


def targets(path: Path) -> set[str]:
    """What a module imports at run time, modules by their full names."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node not in for_types:
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            submodules = {
                name for name in whole if PACKAGE.parent.joinpath(*name.split(".")).with_suffix(".py").is_file()
            }
            found |= submodules if submodules == whole else {node.module, *submodules}
    return found


def test_the_walk_sees_the_imports() -> None:
    assert "layerprobe.geometry.measure" in imported(PACKAGE / "ranking" / "measure.py")
    assert {room_of(path) for path in MODULES} == {*ROOMS, *LOWEST}
