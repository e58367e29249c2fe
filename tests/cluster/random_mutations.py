"""Objects changed at random: what nobody has thought of, for rules to be held against."""

import copy
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Path = tuple[str | int, ...]
TEXTS = ("", "A", "a b", "x" * 64, "x" * 300, "-a", "a_b", "8GB", "1.5", "true", "{{ x }}", "a/b/c",
         "..", "http", "é", "0", "10.0.0.0/33", "*")  # fmt: skip
NUMBERS = (-1, 0, 1, 1.5, 99, 70_000, 2**31, 2**40)
KEYS = ("extra", "nmae", "a b", "x" * 70)
WAYS = ("delete", "value", "value", "value", "type", "double", "add", "typo")
IDENTITY = (("apiVersion",), ("kind",), ("metadata", "name"), ("metadata", "namespace"))


@dataclass(frozen=True)
class Mutation:
    """One change of one object.

    Attributes:
        number: Of the object.
        body: The object with the change.
        what: The change, for people.
    """

    number: int
    body: dict[str, Any]
    what: str


def mutations(good: list[dict[str, Any]], count: int, seed: int) -> Iterator[Mutation]:
    """Changes of some objects, the same for the same seed."""
    rng = random.Random(seed)
    made = 0
    while made < count:
        number = rng.randrange(len(good))
        body = copy.deepcopy(good[number])
        path = rng.choice([p for p in _paths(body) if p and p not in IDENTITY])
        way = rng.choice(WAYS)
        _change(body, path, way, rng)
        if body != good[number]:
            made += 1
            where = ".".join(map(str, path))
            old, new = _at(good[number], path), _at(body, path)
            what = f"{body['kind']} {where}: {way}, {old!r:.60} became {new!r:.60}"
            yield Mutation(number, body, what)


def _paths(thing: Any, path: Path = ()) -> Iterator[Path]:
    yield path
    steps: Any = enumerate(thing) if isinstance(thing, list) else ()
    for step, member in thing.items() if isinstance(thing, dict) else steps:
        yield from _paths(member, (*path, step))


def _at(thing: Any, path: Path) -> Any:
    for step in path:
        try:
            thing = thing[step]
        except (KeyError, IndexError, TypeError):
            return "nothing"
    return thing


def _change(body: dict[str, Any], path: Path, way: str, rng: random.Random) -> None:
    parent, last = _at(body, path[:-1]), path[-1]
    old = parent[last]
    match way:
        case "delete":
            del parent[last]
        case "value":
            parent[last] = _other(old, rng)
        case "type":
            parent[last] = rng.choice([None, [], {}, "text", 5, True, [old], {"a": old}])
        case "double" if isinstance(parent, list):
            parent.append(copy.deepcopy(old))
        case "add" if isinstance(old, dict):
            old[rng.choice(KEYS)] = rng.choice(["v", 1, {}])
        case "typo" if isinstance(last, str) and len(last) > 2:
            parent[last[0] + last[2] + last[1] + last[3:]] = parent.pop(last)


def _other(old: Any, rng: random.Random) -> Any:
    match old:
        case bool():
            return not old
        case int() | float():
            return rng.choice(NUMBERS)
        case str():
            return rng.choice((*TEXTS, old.upper(), f"{old}x", old[:-1]))
        case list():
            return []
    return {}
