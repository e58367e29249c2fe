"""Load whose figures are true: open-loop arrivals, every request recorded."""

from helpers.load.engine import Result, run
from helpers.load.firing import fire, is_announced, is_exported, recover

__all__ = ["Result", "fire", "is_announced", "is_exported", "recover", "run"]
