"""Load whose figures are true: open-loop arrivals, every request recorded."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from helpers.load.engine import Result, run
    from helpers.load.firing import fire, is_announced, is_exported, recover

__all__ = ["Result", "fire", "is_announced", "is_exported", "recover", "run"]


def __getattr__(name: str) -> Any:
    """Import what is asked for only then: a worker starts in a third of the time without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    home = "engine" if name in ("Result", "run") else "firing"
    return getattr(import_module(f"helpers.load.{home}"), name)
