"""Stage 03's cluster side for both targets: the chart's checks, and which promises hold."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from helpers import promises
from helpers.cloud.account import Account
from helpers.cloud.reports import Stack
from helpers.cluster import checks, dry_run, values
from helpers.cluster.live_reports import Balancer, Deployed
from helpers.cluster.lock import Lock
from helpers.cluster.reports import ChartChecks
from helpers.cluster.triton_release import NAME
from helpers.promises import Status
from helpers.run import Run


def check(run: Run, account: Account, image: str) -> ChartChecks:
    """Check Triton's chart with the values this run would install it with.

    Without a stack or an image the chart's own example stands for them. A context of the user's
    kubeconfig, where the profile names one, is asked for a dry run too.

    Args:
        run: Which records it.
        account: Of the stack.
        image: `repository@sha256:…`; empty where nothing was pushed.

    Raises:
        Problem: Contract, plan or lock file cannot be read, or the context cannot be used.
    """
    server = (
        partial(dry_run.ask, dry_run.of_run(run)) if run.profile.cluster.context else None
    )  # fmt: skip
    return checks.run(run, gpu_values=_values(run, account, image), dry_run=server)


def claim(run: Run, checked: ChartChecks, deployed: Deployed, balancer: Balancer) -> None:
    """Tick the promises of chart and Ingress: what stands on AWS, what was only checked here."""
    seen: dict[str, Deployed | Balancer] = {"03.helm": deployed, "03.ingress": balancer}
    for promise, record in seen.items():
        if not record.absent:
            promises.claim(
                run, promise, holds=record.holds, evidence=record.path(), note=record.summary
            )  # fmt: skip
        elif checked.absent:
            promises.tick(run, promise, Status.NOT_REHEARSED, note=checked.absent)
        else:
            status = Status.STATIC if checked.holds else Status.FAILED
            note = f"{checked.summary}; {record.absent}"
            promises.tick(run, promise, status, evidence=checked.path(), note=note)


def _values(run: Run, account: Account, image: str) -> Sequence[Path]:
    if not image or run.find(Stack) is None:
        return ()
    release = Lock.load().named(NAME)
    return values.write(run, release, values.facts(run, account, image))[1:]
