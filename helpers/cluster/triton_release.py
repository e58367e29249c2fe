"""Triton in the cluster: deployed by digest, its rollout watched, its address found."""

import time
from contextlib import suppress

from helpers.cloud import load_balancers
from helpers.cloud.account import Account
from helpers.cloud.reports import Stack
from helpers.cluster import balancer, client, nodes, releases, rollout_wait, values
from helpers.cluster.charts import fetch
from helpers.cluster.client import Cluster
from helpers.cluster.helm import Helm
from helpers.cluster.live_reports import Balancer, Deployed
from helpers.cluster.lock import Lock
from helpers.errors import Problem, Unavailable
from helpers.run import Run

NAME = "triton"


def deploy(run: Run, account: Account, image: str) -> Deployed:
    """Install or upgrade Triton's release and watch its rollout; record what serves.

    Args:
        run: Whose stack stands.
        account: Of the stack.
        image: `repository@sha256:…`, as stage 03 pushed it.

    Returns:
        What serves; `absent` says why nothing does where there is no cluster.

    Raises:
        Problem: Helm failed, or the rollout did not end well; the sentence says why.
    """
    try:
        cluster = _own(run, account)
    except Unavailable as reason:
        return _absent(run, reason.what)
    release, lock, begin = Lock.load().named(NAME), Lock.load(), time.monotonic()
    files = values.write(run, release, values.facts(run, account, image))
    releases.prepare(cluster, lock)
    helm = Helm.of(cluster, run.mark)
    state = helm.apply(NAME, fetch(release).path, release.namespace, files)
    pace = nodes.pace(run, run.profile.cluster.rollout_s)
    serving = rollout_wait.wait(cluster, release.namespace, NAME, pace)
    found = Deployed(
        cluster=cluster.name, namespace=release.namespace, release=NAME, revision=state.revision,
        image=image, replicas=serving, seconds=time.monotonic() - begin,
    )  # fmt: skip
    run.save(found)
    return found


def address(run: Run, account: Account) -> Balancer:
    """Wait for the load balancer's address and healthy targets, and record them.

    From here on meter, cost report and the scan of 06 count it; one that exists and does not
    serve is counted too, as it costs the same.

    Returns:
        The load balancer; `absent` says why there is none where there is no cluster.

    Raises:
        Problem: It does not come about in time, or AWS does not list it; the sentence says why.
    """
    try:
        cluster = _own(run, account)
    except Unavailable as reason:
        found = Balancer(host="", healthy={}, secure=False, absent=reason.what)
        run.save(found)
        return found
    namespace = Lock.load().named(NAME).namespace
    pace = nodes.pace(run, run.profile.cluster.balancer_s)
    try:
        found = balancer.wait(cluster, account, namespace, pace)
    except Problem:
        with suppress(Problem):  # why it does not serve is told, and not this
            load_balancers.look(run, account)
        raise
    run.save(found)
    load_balancers.look(run, account)
    return found


def _own(run: Run, account: Account) -> Cluster:
    """The stack's cluster; the user's own context is for `helpers.cluster.dry_run`."""
    if run.profile.target != "aws":
        raise Unavailable("A rehearsal has no cluster of its own: nothing was installed.")
    return client.of_stack(run, account, run.load(Stack))


def _absent(run: Run, why: str) -> Deployed:
    found = Deployed(
        cluster="", namespace="", release=NAME, revision=0, image="", replicas=0, seconds=0.0,
        absent=why,
    )  # fmt: skip
    run.save(found)
    return found
