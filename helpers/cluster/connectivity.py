"""The promise of stage 01 that the nodes are reachable: kept on AWS, or why it is not shown."""

from helpers import promises
from helpers.cloud.account import Account
from helpers.cluster import nodes
from helpers.errors import Unavailable
from helpers.promises import Status
from helpers.run import Run

PROMISE = "01.connectivity"


def claim(run: Run, account: Account) -> str:
    """Wait for the nodes, tick the promise, and return what was seen, one sentence.

    Raises:
        Problem: There is a cluster, and its nodes are not Ready in time.
    """
    try:
        found = nodes.wait_ready(run, account)
    except Unavailable as reason:
        promises.tick(run, PROMISE, Status.NOT_REHEARSED, note=str(reason))
        return f"NOT REHEARSED: {reason}"
    promises.claim(run, PROMISE, holds=found.all_ready, evidence=found.path(), note=found.summary)
    return found.summary
