"""Load whose figures are true: open-loop arrivals, every request recorded.

How a rate becomes bytes on the wire: `stage` (the scenarios of a run, capacity search, presets) →
`engine` (one scenario) → `worker_pool` (processes here, or Locust's) → `worker` (plays a share) →
`arrivals` (send times, timer) → `http_client` or `grpc_client` (over `http2`, `http2_frames`).
How an answer becomes a figure: `request` (outcomes, recorder) → `statistics` (tables, figures) →
`records`. Beside them: `server_check` (preflight, agreement with Triton), `calibration` (what the
client adds), `cluster_pool` (Locust as pods), `locustfile`.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from helpers.load.cluster_pool import push_image
    from helpers.load.engine import run
    from helpers.load.records import LoadReport
    from helpers.load.stage import (
        find_capacity,
        fire,
        is_announced,
        is_exported,
        preset,
        recover,
        search_capacity,
    )

__all__ = [
    "LoadReport",
    "find_capacity",
    "fire",
    "is_announced",
    "is_exported",
    "preset",
    "push_image",
    "recover",
    "run",
    "search_capacity",
]


def __getattr__(name: str) -> Any:
    """Import what is asked for only then: a worker starts in a third of the time without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    homes = {"LoadReport": "records", "run": "engine", "push_image": "cluster_pool"}
    home = homes.get(name, "stage")
    return getattr(import_module(f"helpers.load.{home}"), name)
