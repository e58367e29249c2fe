"""Limits of the package: its size, class names used twice, and what notebooks may import.

One person should be able to know the whole package. If a limit fails, look first for what can be
deleted, joined, or left to a library.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import nbformat

LINES, MODULES, ROOM_MODULES, MODULE_LINES, TEST_LINES = 20_000, 120, 16, 400, 15_000


def table(root: Path) -> list[str]:
    """One line a room, then helpers and tests as a whole."""
    helpers = root / "helpers"
    rooms = {"helpers (core)": _modules(helpers, deep=False)}
    rooms |= {f"helpers/{room.name}": _modules(room) for room in _rooms(helpers)}
    rooms |= {"helpers": _modules(helpers), "tests": _modules(root / "tests")}
    return [
        f"{name:<20}{sum(map(_lines, paths)):>7,} lines in {len(paths):>3} modules"
        for name, paths in rooms.items()
    ]


def exceeded_limits(root: Path) -> Iterator[str]:
    """One sentence for each limit of size that is exceeded."""
    helpers, tests = root / "helpers", root / "tests"
    modules = _modules(helpers)
    if (lines := sum(map(_lines, modules))) > LINES:
        yield f"helpers has {lines:,} lines; {LINES:,} are allowed"
    if len(modules) > MODULES:
        yield f"helpers has {len(modules)} modules; {MODULES} are allowed"
    for room in [helpers, *_rooms(helpers)]:
        count = sum(path.name != "__init__.py" for path in _modules(room, deep=room != helpers))
        if count > ROOM_MODULES:
            yield f"{room.name} has {count} modules; {ROOM_MODULES} are allowed in a room"
    for path in modules:
        if (lines := _lines(path)) > MODULE_LINES:
            name = path.relative_to(helpers.parent)
            yield f"{name} has {lines} lines; {MODULE_LINES} are allowed in a module"
    if (lines := sum(map(_lines, _modules(tests)))) > TEST_LINES:
        yield f"tests has {lines:,} lines; {TEST_LINES:,} are allowed"


def shared_class_names(root: Path) -> Iterator[str]:
    """One sentence for each name that several classes of the package have."""
    helpers = root / "helpers"
    homes: dict[str, list[str]] = defaultdict(list)
    for path in _modules(helpers):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(str(path.relative_to(helpers)))
    for name, paths in sorted(homes.items()):
        if len(paths) > 1:
            yield f"several classes are called {name}: {', '.join(paths)}"


def unlisted_imports(root: Path) -> Iterator[str]:
    """One sentence for each difference between a room's `__all__` and what notebooks import."""
    helpers = root / "helpers"
    rooms = {room.name: _listed(room / "__init__.py") for room in _rooms(helpers)}
    used = {room: _used_names(helpers / f"{room}.py", rooms) for room in ("cli", "runner")}
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        used[path.name] = _used_names(path, rooms)
        for room, name in sorted(used[path.name]):
            if name not in rooms[room]:
                yield f"{path.name} imports {name}, which helpers/{room} does not list in __all__"
    everything = set().union(*used.values())
    for room, listed in rooms.items():
        for name in sorted(listed):
            if (room, name) not in everything:
                yield f"helpers/{room} lists {name} in __all__, and no notebook uses it"


def _listed(path: Path) -> set[str]:
    """The names in a module's `__all__`."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return set(ast.literal_eval(node.value))
    return set()


def _used_names(path: Path, rooms: dict[str, set[str]]) -> set[tuple[str, str]]:
    """(room, name) for every name of a room that a notebook or module uses."""
    source = path.read_text()
    if path.suffix == ".ipynb":
        cells = nbformat.reads(source, as_version=4).cells
        source = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
    used: set[tuple[str, str]] = set()
    imported: set[str] = set()  # rooms that are used as `load.run`
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [alias.name for alias in node.names]
            match node.module.split("."):
                case ["helpers"]:
                    imported |= set(names) & set(rooms)
                case ["helpers", room] if room in rooms:
                    used |= {(room, name) for name in names}
                case ["helpers", room, module] if room in rooms:
                    used.add((room, module))
    used |= {
        (node.value.id, node.attr)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in imported
    }
    return used


def _rooms(helpers: Path) -> list[Path]:
    return sorted(path.parent for path in helpers.glob("*/__init__.py"))


def _modules(folder: Path, *, deep: bool = True) -> list[Path]:
    return sorted(folder.rglob("*.py") if deep else folder.glob("*.py"))


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())
