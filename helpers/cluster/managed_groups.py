"""Node groups that EKS manages: as it describes them, and what it says is wrong with them."""

from typing import Any

from helpers.cloud.account import Account, asking


def read(account: Account, cluster: str) -> tuple[dict[str, Any], ...]:
    """Every managed node group of a cluster, as EKS describes it.

    Raises:
        Problem: AWS refuses, or cannot be reached.
    """
    eks = account.client("eks")
    with asking("the node groups"):
        pages = eks.get_paginator("list_nodegroups").paginate(clusterName=cluster)
        names = [name for page in pages for name in page["nodegroups"]]
        return tuple(
            eks.describe_nodegroup(clusterName=cluster, nodegroupName=name)["nodegroup"]
            for name in names
        )


def issues(group: dict[str, Any]) -> tuple[str, ...]:
    """What EKS says is wrong with a group, as `code: message (what it concerns)`.

    A group that once had no capacity keeps saying so until it scales out again
    (aws/containers-roadmap#2326): to be asked when nodes are missing, and only then.
    """
    return tuple(_told(one) for one in group.get("health", {}).get("issues", []))


def _told(issue: dict[str, Any]) -> str:
    concerned = ", ".join(issue.get("resourceIds", []))
    what = f"{issue.get('code', 'Unknown')}: {issue.get('message', 'no reason given')}"
    return f"{what} ({concerned})" if concerned else what
