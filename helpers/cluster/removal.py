"""The end of what runs in the cluster, before Terraform ends the cluster itself.

Terraform does not know what the cluster has made in AWS: load balancers with their security groups
and network interfaces (of Ingresses and Services), volumes (of claims). They block its destroy, or
outlive it. So they go first, while their controllers still run; then the releases, from the bottom
of the lock file up, the load balancer controller with its webhooks as the last. CRDs stay, as Helm
leaves them: they own nothing in AWS and go with the cluster, while objects of a CRD that is deleted
before their controller has let go of them would hang on their finalizers.

Nothing in here stops the teardown: what fails is said, and Terraform has its turn.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

from botocore.exceptions import ClientError

from helpers.cloud.account import Account, asking
from helpers.cloud.reports import Stack
from helpers.cluster import balancer, client, nodes, releases, volumes
from helpers.cluster.client import Cluster
from helpers.errors import Problem
from helpers.run import Record, Run

BALANCED = "LoadBalancer"
IN_AWS = "what it had made is looked for in AWS itself"


class Removal(Record, stage="06", name="cluster-removal"):
    """What became of all that ran in the cluster, and of what it had made in AWS.

    Attributes:
        ingresses: What was deleted, as `namespace/name`.
        services: Services with a load balancer of their own, likewise.
        balancers: Load balancers that were there when it began.
        standing: Those of them that are there yet.
        seconds: How long they were waited for.
        releases: Helm releases that were removed, in order.
        claims: Claims of volumes that were deleted, as `namespace/name`.
        faults: What failed or stays; it stops nothing.
        unreached: Why the cluster could not be asked; empty where it could.
        note: Why nothing was to be done, or could be; empty where it was done.
    """

    ingresses: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    balancers: tuple[str, ...] = ()
    standing: tuple[str, ...] = ()
    seconds: float = 0.0
    releases: tuple[str, ...] = ()
    claims: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()
    unreached: str = ""
    note: str = ""

    @property
    def summary(self) -> str:
        """What was removed in one sentence; what was not, in a line each."""
        if self.note:
            return self.note
        gone = len(self.balancers) - len(self.standing)
        done = (
            f"{gone} of {len(self.balancers)} load balancers gone after {self.seconds:.0f} s; "
            f"{len(self.releases)} releases and {len(self.claims)} claims of volumes removed"
        )
        failed = f"; NOT DONE, and the teardown goes on ({IN_AWS}):" if self.faults else ""
        return "\n".join((f"{done}{failed}", *self.faults))


def remove(run: Run, account: Account) -> Removal:
    """Remove what the cluster has made in AWS, then the releases, and record it.

    Safe to repeat, and safe where there is no cluster any more.

    Args:
        run: Whose cluster it is.
        account: Of its stack.

    Raises:
        Problem: AWS cannot be asked for its load balancers.
    """
    stack = run.find(Stack)
    if run.profile.target != "aws" or stack is None:
        rehearsed = run.profile.target != "aws"
        why = "a rehearsal has no cluster" if rehearsed else "this run has no stack"
        return _record(run, Removal(note=f"nothing to remove in a cluster: {why}"))
    before = balancer.of_cluster(account, stack.cluster_name, stack.vpc_id)
    if not _exists(account, stack.cluster_name):
        note = f"the cluster {stack.cluster_name} is gone already; {IN_AWS}"
        return _record(run, Removal(balancers=before, standing=before, note=note))
    try:
        cluster = client.of_stack(run, account, stack)
        ingresses, services = _balanced(cluster)
    except Problem as reason:
        note = f"NOT DONE: the cluster does not answer ({reason.what}); {IN_AWS}"
        return _record(
            run, Removal(balancers=before, standing=before, unreached=str(reason), note=note)
        )
    return _record(run, _remove(run, account, stack, cluster, before, ingresses, services))


def _remove(
    run: Run, account: Account, stack: Stack, cluster: Cluster, before: tuple[str, ...],
    ingresses: tuple[str, ...], services: tuple[str, ...],
) -> Removal:  # fmt: skip
    faults: list[str] = []
    pace = nodes.pace(run, run.profile.cluster.balancer_s)
    begin = time.monotonic()
    deletes = ((ingresses, cluster.networking.delete_namespaced_ingress, "Ingress"),
               (services, cluster.core.delete_namespaced_service, "Service"))  # fmt: skip
    for names, call, kind in deletes:
        for name in names:
            _attempt(faults, partial(_delete, call, kind, name))
    _attempt(faults, lambda: balancer.wait_gone(account, stack.cluster_name, stack.vpc_id, pace))
    seconds = time.monotonic() - begin
    left = balancer.of_cluster(account, stack.cluster_name, stack.vpc_id)
    gone = releases.uninstall(run, cluster)
    faults += gone.failed
    freed = _claims(cluster, faults)
    _attempt(faults, lambda: volumes.wait_gone(cluster, freed.going, pace))
    return Removal(
        ingresses=ingresses, services=services, balancers=before, standing=left,
        seconds=seconds, releases=gone.removed, claims=freed.claims, faults=tuple(faults),
    )  # fmt: skip


def _claims(cluster: Cluster, faults: list[str]) -> volumes.Released:
    try:
        freed = volumes.release(cluster)
    except Problem as reason:
        faults.append(str(reason))
        return volumes.Released()
    faults += freed.kept
    return freed


def _attempt(faults: list[str], act: Callable[[], object]) -> None:
    """Do one step; what fails is kept and shown, and the next step has its turn."""
    try:
        act()
    except Problem as reason:
        faults.append(str(reason))


def _exists(account: Account, name: str) -> bool:
    with asking("the cluster"):
        try:
            account.client("eks").describe_cluster(name=name)
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return False
            raise
    return True


def _balanced(cluster: Cluster) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Ingresses, and Services that have a load balancer of their own, as `namespace/name`."""
    with client.asking("The Ingresses and Services"):
        ingresses = cluster.plain(cluster.networking.list_ingress_for_all_namespaces())["items"]
        services = cluster.plain(cluster.core.list_service_for_all_namespaces())["items"]
    balanced = [one for one in services if one.get("spec", {}).get("type") == BALANCED]
    return _names(ingresses), _names(balanced)


def _names(bodies: list[dict[str, Any]]) -> tuple[str, ...]:
    return tuple(f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in bodies)


def _delete(call: Callable[..., object], kind: str, name: str) -> None:
    namespace, _, short = name.partition("/")
    with client.asking(f"The removal of {kind} {name}", namespace=namespace):
        client.delete(call, short, namespace)


def _record(run: Run, found: Removal) -> Removal:
    run.save(found)
    run.event(
        "cluster-emptied", "06", source="kubernetes", balancers=len(found.balancers),
        releases=len(found.releases), faults=len(found.faults), note=found.summary,
    )  # fmt: skip
    return found
