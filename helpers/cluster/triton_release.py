"""Triton in the cluster: deployed by digest, its rollout watched, its address found, removed."""

import time
from typing import Any

from kubernetes.client.exceptions import ApiException

from helpers.cloud.account import Account
from helpers.cloud.reports import Stack
from helpers.cluster import balancer, client, nodes, releases, rollout_wait, values
from helpers.cluster.charts import fetch
from helpers.cluster.client import Cluster
from helpers.cluster.helm import Helm
from helpers.cluster.live_reports import Balancer, Deployed, Removal
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

    Returns:
        The load balancer; `absent` says why there is none where there is no cluster.

    Raises:
        Problem: It does not come about in time; the sentence says why.
    """
    try:
        cluster = _own(run, account)
    except Unavailable as reason:
        found = Balancer(host="", healthy={}, secure=False, absent=reason.what)
    else:
        namespace = Lock.load().named(NAME).namespace
        pace = nodes.pace(run, run.profile.cluster.balancer_s)
        found = balancer.wait(cluster, account, namespace, pace)
    run.save(found)
    return found


def remove(run: Run, account: Account) -> Removal:
    """Remove Triton and every Ingress, and wait until the load balancer is gone.

    To be called before `terraform destroy`: the load balancer is its controller's and not
    Terraform's, and blocks the VPC's removal (aws-ia/terraform-aws-eks-blueprints-addons#462).
    Safe to repeat, and safe where there is no cluster any more.

    Raises:
        Problem: A load balancer is left and its cluster cannot be asked, or it does not go.
    """
    stack = run.find(Stack)
    if run.profile.target != "aws" or stack is None:
        rehearsed = run.profile.target != "aws"
        why = "a rehearsal has no cluster" if rehearsed else "this run has no stack"
        return _removal(run, (), (), 0.0, f"no load balancer: {why}")
    before = balancer.of_cluster(account, stack.cluster_name, stack.vpc_id)
    try:
        cluster = client.of_stack(run, account, stack)
        deleted = _delete_ingresses(cluster)
    except Problem as reason:
        if before:
            raise
        return _removal(run, (), (), 0.0, f"no load balancer is left; {reason.what}")
    pace = nodes.pace(run, run.profile.cluster.balancer_s)
    seconds = balancer.wait_gone(account, stack.cluster_name, stack.vpc_id, pace)
    Helm.of(cluster, run.mark).remove(NAME, Lock.load().named(NAME).namespace)
    return _removal(run, deleted, before, seconds, "removed, and seen gone")


def _own(run: Run, account: Account) -> Cluster:
    """The stack's cluster; the user's own context is for `helpers.cluster.dry_run`."""
    if run.profile.target != "aws":
        raise Unavailable("A rehearsal has no cluster of its own: nothing was installed.")
    return client.of_stack(run, account, run.load(Stack))


def _delete_ingresses(cluster: Cluster) -> tuple[str, ...]:
    with client.asking("The Ingresses"):
        found = cluster.plain(cluster.networking.list_ingress_for_all_namespaces())["items"]
        for one in found:
            _delete(cluster, one["metadata"])
    return tuple(f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in found)


def _delete(cluster: Cluster, meta: dict[str, Any]) -> None:
    try:
        cluster.networking.delete_namespaced_ingress(meta["name"], meta["namespace"])
    except ApiException as error:
        if error.status != 404:
            raise


def _absent(run: Run, why: str) -> Deployed:
    found = Deployed(
        cluster="", namespace="", release=NAME, revision=0, image="", replicas=0, seconds=0.0,
        absent=why,
    )  # fmt: skip
    run.save(found)
    return found


def _removal(
    run: Run, ingresses: tuple[str, ...], balancers: tuple[str, ...], seconds: float, note: str
) -> Removal:
    found = Removal(ingresses=ingresses, balancers=balancers, seconds=seconds, note=note)
    run.save(found)
    run.event("load-balancer-removed", "06", count=len(balancers), source="aws", note=note)
    return found
