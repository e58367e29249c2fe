"""Load whose figures are true: open-loop arrivals, every request recorded."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from helpers.load.capacity import find_capacity
    from helpers.load.engine import Result, run
    from helpers.load.firing import fire, is_announced, is_exported, recover, search_capacity

_HOMES = {
    "Result": "engine",
    "find_capacity": "capacity",
    "fire": "firing",
    "is_announced": "firing",
    "is_exported": "firing",
    "recover": "firing",
    "run": "engine",
    "search_capacity": "firing",
}
__all__ = [
    "Result",
    "find_capacity",
    "fire",
    "is_announced",
    "is_exported",
    "recover",
    "run",
    "search_capacity",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for only then: a worker starts in a third of the time without."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"helpers.load.{_HOMES[name]}"), name)
