"""EKS: who may do what in a cluster, and tags of everything in it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from moto.eks.responses import EKSResponse

from helpers.rehearsal.moto_extension import ACCOUNT_ID, Call, Operations, Refusal, add

ADMIN = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"


def cluster_of(call: Call) -> Any:
    """Moto's cluster of the name that the call gives.

    Raises:
        Refusal: There is none.
    """
    name = call.params.get("name") or call.params.get("clusterName")
    found = call.backend("eks").clusters.get(name)
    if found is None:
        message = f"No cluster found for name: {name}."
        raise Refusal("ResourceNotFoundException", message)
    return found


def put(call: Call, cluster: Any, principal: str, kind: str) -> dict[str, Any]:
    """Let a principal into a cluster, with the defaults that AWS takes for its kind."""
    kind_of_principal, name = principal.rsplit(":", 1)[1].split("/", 1)
    path = f"{cluster.name}/{kind_of_principal}/{ACCOUNT_ID}/{name}/{uuid4()}"
    given = call.params if call.params.get("principalArn") == principal else {}
    of_nodes = kind != "STANDARD"
    entry = {
        "clusterName": cluster.name,
        "principalArn": principal,
        "kubernetesGroups": given.get("kubernetesGroups") or (["system:nodes"] * of_nodes),
        "accessEntryArn": f"arn:aws:eks:{call.region}:{ACCOUNT_ID}:access-entry/{path}",
        "createdAt": datetime.now(UTC),
        "modifiedAt": datetime.now(UTC),
        "tags": dict(given.get("tags", {})),
        "username": given.get("username")
        or ("system:node:{{EC2PrivateDNSName}}" if of_nodes else principal),
        "type": kind,
    }
    cluster.access_entries[principal] = entry
    cluster.access_policies[principal] = {}
    return entry


def make_admin(cluster: Any, principal: str) -> None:
    """What `bootstrapClusterCreatorAdminPermissions` does for the creator."""
    _associate(cluster, principal, ADMIN, {"type": "cluster"})


def create_access_entry(call: Call) -> dict[str, Any]:
    """A new entry; a principal has one at most."""
    cluster, principal = cluster_of(call), call.params["principalArn"]
    if principal in cluster.access_entries:
        message = "The specified access entry resource is already in use on this cluster."
        raise Refusal("ResourceInUseException", message)
    kind = call.params.get("type", "STANDARD")
    return {"accessEntry": put(call, cluster, principal, kind)}


def describe_access_entry(call: Call) -> dict[str, Any]:
    """One entry."""
    return {"accessEntry": _entry(call)}


def delete_access_entry(call: Call) -> dict[str, Any]:
    """The principal is out."""
    cluster, principal = cluster_of(call), _entry(call)["principalArn"]
    del cluster.access_entries[principal], cluster.access_policies[principal]
    return {}


def tag_resource(call: Call) -> dict[str, Any]:
    """Tags of clusters, node groups and access entries."""
    _tags(call).update(call.params["tags"])
    return {}


def untag_resource(call: Call) -> dict[str, Any]:
    """Tags are taken away."""
    tags = _tags(call)
    for key in call.params["tagKeys"]:
        tags.pop(key, None)
    return {}


def list_tags_for_resource(call: Call) -> dict[str, Any]:
    """The tags of one thing."""
    return {"tags": _tags(call)}


def _entry(call: Call) -> dict[str, Any]:
    principal = call.params["principalArn"]
    found: dict[str, Any] | None = cluster_of(call).access_entries.get(principal)
    if found is None:
        message = f"The specified principalArn could not be found: {principal}."
        raise Refusal("ResourceNotFoundException", message)
    return found


def _associate(cluster: Any, principal: str, policy: str, scope: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    made = {"policyArn": policy, "accessScope": scope, "associatedAt": now, "modifiedAt": now}
    cluster.access_policies[principal][policy] = made
    return made


def _tags(call: Call) -> dict[str, str]:
    wanted = call.params["resourceArn"]
    for arn, tags in _tagged(call):
        if arn == wanted:
            return tags
    raise Refusal("NotFoundException", "Resource was not found")


def _tagged(call: Call) -> Iterator[tuple[str, dict[str, str]]]:
    for cluster in call.backend("eks").clusters.values():
        yield cluster.arn, cluster.tags
        for group in cluster.nodegroups.values():
            yield group.arn, group.tags
        for entry in cluster.access_entries.values():
            yield entry["accessEntryArn"], entry["tags"]


OPERATIONS: Operations = {
    "CreateAccessEntry": create_access_entry,
    "DescribeAccessEntry": describe_access_entry,
    "DeleteAccessEntry": delete_access_entry,
    "TagResource": tag_resource,
    "UntagResource": untag_resource,
    "ListTagsForResource": list_tags_for_resource,
}


def install() -> None:
    """Add the operations to moto."""
    add(EKSResponse, OPERATIONS)
