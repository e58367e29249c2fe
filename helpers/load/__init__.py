"""Load whose figures are true: open-loop arrivals, every request recorded."""

from helpers.load.firing import fire, is_announced, is_exported, recover

__all__ = ["fire", "is_announced", "is_exported", "recover"]
