"""Local processes of a run: started, watched, logged, and stopped whatever happens.

Each service runs under a small watcher (`helpers.watcher`) that outlives the notebook's kernel
and ends the service when its owner is gone, its time is over, or it is told to.
"""

from helpers.services.lifecycle import (
    Service,
    down,
    find,
    free_port,
    log_tail,
    recorded,
    start,
    stop,
)
from helpers.services.processes import MARK, OWNER, marked, owner_lives, owner_mark

__all__ = [
    "MARK",
    "OWNER",
    "Service",
    "down",
    "find",
    "free_port",
    "log_tail",
    "marked",
    "owner_lives",
    "owner_mark",
    "recorded",
    "start",
    "stop",
]
