"""EKS: who may do what in a cluster, and tags of everything in it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from helpers.rehearsal.double.call import Call, Operations, Refusal
from helpers.rehearsal.double.world import ACCOUNT_ID

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
        raise Refusal("ResourceNotFoundException", message, 404)
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
        raise Refusal("ResourceInUseException", message, 409)
    kind = call.params.get("type", "STANDARD")
    return {"accessEntry": put(call, cluster, principal, kind)}


def describe_access_entry(call: Call) -> dict[str, Any]:
    """One entry."""
    return {"accessEntry": _entry(call)}


def list_access_entries(call: Call) -> dict[str, Any]:
    """The principals that have an entry."""
    return {"accessEntries": list(cluster_of(call).access_entries)}


def update_access_entry(call: Call) -> dict[str, Any]:
    """Other groups or another user name."""
    entry = _entry(call)
    entry |= {
        key: call.params[key] for key in ("kubernetesGroups", "username") & call.params.keys()
    }
    return {"accessEntry": entry}


def delete_access_entry(call: Call) -> dict[str, Any]:
    """The principal is out."""
    cluster, principal = cluster_of(call), _entry(call)["principalArn"]
    del cluster.access_entries[principal], cluster.access_policies[principal]
    return {}


def associate_access_policy(call: Call) -> dict[str, Any]:
    """A policy for a principal, in the whole cluster or in namespaces."""
    cluster, names = cluster_of(call), _names(_entry(call))
    given = call.params["policyArn"], call.params["accessScope"]
    policy = _associate(cluster, names["principalArn"], *given)
    return {**names, "associatedAccessPolicy": policy}


def list_associated_access_policies(call: Call) -> dict[str, Any]:
    """The policies of a principal."""
    return {**_names(_entry(call)), "associatedAccessPolicies": list(_policies(call).values())}


def disassociate_access_policy(call: Call) -> dict[str, Any]:
    """The policy no longer counts for the principal."""
    _policies(call).pop(call.params["policyArn"], None)
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
        raise Refusal("ResourceNotFoundException", message, 404)
    return found


def _policies(call: Call) -> dict[str, Any]:
    principal = _entry(call)["principalArn"]
    found: dict[str, Any] = cluster_of(call).access_policies[principal]
    return found


def _associate(cluster: Any, principal: str, policy: str, scope: Any) -> dict[str, Any]:
    now = datetime.now(UTC)
    made = {"policyArn": policy, "accessScope": scope, "associatedAt": now, "modifiedAt": now}
    cluster.access_policies[principal][policy] = made
    return made


def _names(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: entry[key] for key in ("clusterName", "principalArn")}


def _tags(call: Call) -> dict[str, str]:
    wanted = call.params["resourceArn"]
    for arn, tags in _tagged(call):
        if arn == wanted:
            return tags
    raise Refusal("NotFoundException", "Resource was not found", 404)


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
    "ListAccessEntries": list_access_entries,
    "UpdateAccessEntry": update_access_entry,
    "DeleteAccessEntry": delete_access_entry,
    "AssociateAccessPolicy": associate_access_policy,
    "ListAssociatedAccessPolicies": list_associated_access_policies,
    "DisassociateAccessPolicy": disassociate_access_policy,
    "TagResource": tag_resource,
    "UntagResource": untag_resource,
    "ListTagsForResource": list_tags_for_resource,
}
