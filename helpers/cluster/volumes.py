"""Volumes of the cluster's claims: given back, and waited for until their driver has acted."""

from dataclasses import dataclass
from typing import Any

from helpers.cluster import client, waits
from helpers.cluster.client import Cluster
from helpers.cluster.waits import Pace, Seen

DELETES = "Delete"


@dataclass(frozen=True)
class Released:
    """What became of the claims.

    Attributes:
        claims: Those that were deleted, as `namespace/name`.
        going: Names of the volumes that their driver now has to remove.
        kept: A sentence for each volume that its reclaim policy keeps.
    """

    claims: tuple[str, ...] = ()
    going: frozenset[str] = frozenset()
    kept: tuple[str, ...] = ()


def release(cluster: Cluster) -> Released:
    """Delete every claim of the cluster.

    To be called once nothing uses the claims: a claim in use is kept until its pods have gone.

    Raises:
        Problem: The cluster refuses.
    """
    with client.asking("The claims of volumes"):
        answer = cluster.core.list_persistent_volume_claim_for_all_namespaces()
        claims = cluster.plain(answer)["items"]
        bound = {one["spec"].get("volumeName") for one in claims} - {None}
        ours = [one for one in _volumes(cluster) if one["metadata"]["name"] in bound]
        for one in claims:
            meta, drop = one["metadata"], cluster.core.delete_namespaced_persistent_volume_claim
            client.delete(drop, meta["name"], meta["namespace"])
    return Released(
        claims=tuple(f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in claims),
        going=frozenset(one["metadata"]["name"] for one in ours if _policy(one) == DELETES),
        kept=tuple(_kept(one) for one in ours if _policy(one) != DELETES),
    )


def wait_gone(cluster: Cluster, names: frozenset[str], pace: Pace) -> None:
    """Wait until volumes are gone.

    Raises:
        Problem: One is still there when the time is over; the sentence names it as AWS does.
    """
    if names:
        waits.until(
            "volumes gone", lambda: _look(cluster, names), lambda: _why(cluster, names), pace
        )


def _volumes(cluster: Cluster) -> list[dict[str, Any]]:
    with client.asking("The volumes"):
        answer = cluster.core.list_persistent_volume()
    found: list[dict[str, Any]] = cluster.plain(answer)["items"]
    return found


def _look(cluster: Cluster, names: frozenset[str]) -> Seen:
    left = sorted(names & {one["metadata"]["name"] for one in _volumes(cluster)})
    return Seen(not left, f"{', '.join(left)} still there" if left else "none left")


def _why(cluster: Cluster, names: frozenset[str]) -> str:
    left = [one for one in _volumes(cluster) if one["metadata"]["name"] in names]
    handles = ", ".join(_handle(one) for one in left)
    return (
        f"Its driver has not removed {handles}: a pod may still use it, or the driver is gone. "
        "Destroying goes on; the scan for leftovers looks for it, and says how to delete it."
    )


def _kept(volume: dict[str, Any]) -> str:
    return (
        f"The volume {_handle(volume)} stays: its reclaim policy is {_policy(volume)}. It costs "
        "until you delete it."
    )


def _policy(volume: dict[str, Any]) -> str:
    return str(volume["spec"].get("persistentVolumeReclaimPolicy", ""))


def _handle(volume: dict[str, Any]) -> str:
    """What AWS calls it, where its driver is AWS's; else its name in the cluster."""
    handle = volume["spec"].get("csi", {}).get("volumeHandle", "")
    return str(handle or volume["metadata"]["name"])
