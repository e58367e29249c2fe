"""Why something in a cluster does not come about: pods, events, logs, Auto Scaling, EKS."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kubernetes.client.exceptions import ApiException

from helpers.cloud.account import Account, asking
from helpers.cluster import client, explain, managed_groups
from helpers.cluster.client import Cluster

LAST_LINES = 8
LAST_EVENTS = 5
LAST_ACTIVITIES = 10
FAILED = ("Failed", "Cancelled")


@dataclass(frozen=True)
class Trouble:
    """Something that keeps a pod, a node or a group from getting on.

    Attributes:
        where: The object, as in `pod triton-6d`.
        said: What Kubernetes or AWS said of it.
        explanation: What that means; None where no rule knows it.
        log: The container's last lines; empty where none were asked for.
    """

    where: str
    said: str
    explanation: explain.Explanation | None = None
    log: str = ""

    @property
    def hopeless(self) -> bool:
        """Whether waiting longer is of no use."""
        return self.explanation is not None and not self.explanation.passing

    def __str__(self) -> str:
        meaning = str(self.explanation) if self.explanation else ""
        log = f"\nIts last lines:\n{self.log}" if self.log else ""
        return f"{self.where}: {explain.quote(self.said)} {meaning}".strip() + log


def of_pods(cluster: Cluster, namespace: str, selector: str) -> list[Trouble]:
    """What keeps the pods of a selector from being Ready.

    Args:
        cluster: Where.
        namespace: Of the pods.
        selector: A label selector, such as `app=triton`.

    Raises:
        Problem: The cluster cannot be asked.
    """
    with client.asking(f"The pods of {namespace}", namespace=namespace):
        pods = cluster.core.list_namespaced_pod(namespace, label_selector=selector)
    return [found for pod in cluster.plain(pods)["items"] for found in of_pod(cluster, pod)]


def of_pod(cluster: Cluster, pod: dict[str, Any]) -> list[Trouble]:
    """What keeps one pod, as the API's JSON, from being Ready."""
    status = pod.get("status", {})
    where = f"pod {pod['metadata']['name']}"
    found = [
        Trouble(where, why_pending(one["message"]), _unschedulable(one["message"]))
        for one in status.get("conditions", [])
        if one["type"] == "PodScheduled" and one["status"] == "False" and one.get("message")
    ]
    containers = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    return found + [one for each in containers for one in _of_container(cluster, pod, each)]


def of_events(cluster: Cluster, namespace: str, name: str) -> list[Trouble]:
    """The newest warnings about an object, newest first; repeated ones once."""
    with client.asking(f"The events of {namespace}", namespace=namespace):
        answer = cluster.core.list_namespaced_event(
            namespace, field_selector=f"involvedObject.name={name},type=Warning"
        )
    events = sorted(cluster.plain(answer)["items"], key=_moment, reverse=True)
    messages = dict.fromkeys(f"{one.get('reason', '')}: {one.get('message', '')}" for one in events)
    return [
        Trouble(f"event of {name}", said, explain.recognise(said, namespace=namespace))
        for said in list(messages)[:LAST_EVENTS]
    ]


def of_group(account: Account, group: str) -> list[Trouble]:
    """What Auto Scaling failed at last, newest first: spot capacity, price, quota.

    Args:
        account: Whose.
        group: Name of the Auto Scaling group.

    Raises:
        Problem: AWS refuses, or cannot be reached.
    """
    with asking("the activities of the GPU node group"):
        activities = account.client("autoscaling").describe_scaling_activities(
            AutoScalingGroupName=group, MaxRecords=LAST_ACTIVITIES
        )["Activities"]
    messages = dict.fromkeys(
        one.get("StatusMessage") or one.get("Description", "")
        for one in activities
        if one["StatusCode"] in FAILED
    )
    return [Trouble(f"group {group}", said, explain.recognise(said)) for said in messages if said]


def of_managed_groups(account: Account, cluster: str) -> list[Trouble]:
    """What EKS says is wrong with the node groups that it manages: capacity, roles, subnets.

    Args:
        account: Whose.
        cluster: The cluster's name.

    Raises:
        Problem: AWS refuses, or cannot be reached.
    """
    return [
        Trouble(f"node group {group['nodegroupName']}", said, explain.recognise(said))
        for group in managed_groups.read(account, cluster)
        for said in managed_groups.issues(group)
    ]


def told(troubles: Iterable[Trouble]) -> str:
    """Troubles as text, one a line; empty where there are none."""
    return "\n".join(dict.fromkeys(str(one) for one in troubles))


def last_lines(cluster: Cluster, pod: dict[str, Any], container: str, *, previous: bool) -> str:
    """A container's last lines; empty where there are none to be had."""
    meta = pod["metadata"]
    try:
        text = cluster.core.read_namespaced_pod_log(
            meta["name"], meta["namespace"], container=container, previous=previous,
            tail_lines=LAST_LINES,
        )  # fmt: skip
    except ApiException:
        return ""
    return str(text).strip()


def _of_container(cluster: Cluster, pod: dict[str, Any], status: dict[str, Any]) -> list[Trouble]:
    meta = pod["metadata"]
    waiting = status.get("state", {}).get("waiting", {})
    ended = status.get("state", {}).get("terminated") or status.get("lastState", {}).get(
        "terminated", {}
    )
    reason = waiting.get("reason", "")
    crashed = ended.get("exitCode", 0) != 0
    if reason in ("", "ContainerCreating", "PodInitializing") and not crashed:
        return []
    log = last_lines(cluster, pod, status["name"], previous=bool(waiting)) if crashed else ""
    end = f"{ended.get('reason', '')} (exit status {ended.get('exitCode')})" if crashed else ""
    said = f"{reason} {waiting.get('message', '')} {end}".strip()
    facts = {
        "container": status["name"], "image": status.get("image", ""), "pod": meta["name"],
        "namespace": meta["namespace"],
    }  # fmt: skip
    meaning = explain.first_known((f"{end} {log}" if crashed else "", said), **facts)
    return [Trouble(f"container {status['name']} of pod {meta['name']}", said, meaning, log)]


def why_pending(message: str) -> str:
    """The scheduler's reasons without what it says of preemption and resource claims."""
    return message.partition(". ")[0].rstrip(".")


def _unschedulable(message: str) -> explain.Explanation | None:
    return explain.recognise(message, detail=f"{why_pending(message)}.")


def _moment(event: dict[str, Any]) -> str:
    series = event.get("series") or {}
    times = (event.get("lastTimestamp"), event.get("eventTime"), series.get("lastObservedTime"))
    return max((one for one in times if one), default="")
