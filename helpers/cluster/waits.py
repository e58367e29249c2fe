"""Waiting that shows progress, and the reasons why something is not ready."""

import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from helpers.cluster import explain
from helpers.cluster.explain import Rule, TransientError
from helpers.errors import Problem
from helpers.run import Run

if TYPE_CHECKING:  # the official client takes seconds to import
    from helpers.cluster.client import Cluster

HEARTBEAT_S = 30.0
LAST_LINES, LAST_EVENTS = 8, 5


class WaitState(NamedTuple):
    """How far something is."""

    done: bool  # whether what is waited for is there
    text: str  # how far it is, for people
    fatal: str = ""  # why waiting longer is useless; empty if it may help


class Pace(NamedTuple):
    """How a wait goes."""

    timeout_s: float  # how long at most, seconds
    every_s: float = 1.0  # seconds between two checks
    say: Callable[[str], None] = print  # shows a line of progress
    clock: Any = time  # has `monotonic` and `sleep`


def pace(run: Run, timeout_s: float) -> Pace:
    """How a wait of this run goes."""
    return Pace(timeout_s, run.profile.cluster.poll_s)


def until(
    what: str, check: Callable[[], WaitState], why: Callable[[], str], pace: Pace
) -> WaitState:
    """Check again and again until it is done; changes are shown, and a line every 30 seconds.

    A `TransientError` of a check counts as "not yet"; `why` is asked when the time is over, and
    gives the reason with the next step.
    """
    begin = pace.clock.monotonic()
    shown, shown_at = "", begin
    while True:
        try:
            progress = check()
        except TransientError as error:
            progress = WaitState(False, error.what.rstrip("."))
        now = pace.clock.monotonic()
        if progress.text != shown or now - shown_at >= HEARTBEAT_S:
            pace.say(f"{now - begin:5.0f} s  {what}: {progress.text}")
            shown, shown_at = progress.text, now
        if progress.done:
            return progress
        if progress.fatal:
            raise Problem(f"{what}: {progress.text}.", progress.fatal)
        if now - begin >= pace.timeout_s:
            try:
                reason = why() or "No reason is known: nothing has reported an error."
            except Problem as error:
                reason = f"The reason cannot be asked for: {error}"
            raise Problem(f"{what}: not after {pace.timeout_s:g} s ({progress.text}).", reason)
        pace.clock.sleep(pace.every_s)


class Trouble(NamedTuple):
    """Something that holds up a pod, a node or a group."""

    where: str  # the object, as in `pod triton-6d`
    said: str  # what Kubernetes or AWS said of it
    explanation: Rule | None = None  # what that means; None if no rule knows it
    log: str = ""  # the container's last lines; empty without a crash

    def __str__(self) -> str:
        log = f"\nIts last lines:\n{self.log}" if self.log else ""
        return f"{self.where}: {explain.quote(self.said)} {self.explanation or ''}".strip() + log


def pod_troubles(cluster: "Cluster", namespace: str, selector: str) -> list[Trouble]:
    """What keeps the pods of a label selector from being Ready."""
    pods = cluster.list("pods", namespace, labelSelector=selector)
    return [trouble for pod in pods for trouble in troubles_of_pod(cluster, pod)]


def troubles_of_pod(cluster: "Cluster", pod: dict[str, Any]) -> list[Trouble]:
    """What keeps one pod, as the API's JSON, from being Ready."""
    status, name = pod.get("status", {}), pod["metadata"]["name"]
    pending = [condition["message"] for condition in status.get("conditions", [])
               if condition["type"] == "PodScheduled" and condition["status"] == "False"
               and condition.get("message")]  # fmt: skip
    troubles = [Trouble(f"pod {name}", short, explain.recognise(message, detail=f"{short}."))
                for message in pending for short in [pending_reason(message)]]  # fmt: skip
    for container in [*status.get("initContainerStatuses", []),
                      *status.get("containerStatuses", [])]:  # fmt: skip
        waiting = container.get("state", {}).get("waiting", {})
        ended = (container.get("state", {}).get("terminated")
                 or container.get("lastState", {}).get("terminated", {}))  # fmt: skip
        reason, crashed = waiting.get("reason", ""), ended.get("exitCode", 0) != 0
        if reason in ("", "ContainerCreating", "PodInitializing") and not crashed:
            continue
        log = end = ""
        if crashed:
            log = cluster.last_lines(pod, container["name"], LAST_LINES, previous=bool(waiting))
            end = f"{ended.get('reason', '')} (exit status {ended.get('exitCode')})"
        said = f"{reason} {waiting.get('message', '')} {end}".strip()
        facts = {"container": container["name"], "image": container.get("image", ""), "pod": name,
                 "namespace": pod["metadata"]["namespace"]}  # fmt: skip
        meaning = explain.recognise(f"{end} {log}", **facts) if crashed else None
        meaning = meaning or explain.recognise(said, **facts)
        troubles.append(Trouble(f"container {container['name']} of pod {name}", said, meaning, log))
    return troubles


def event_troubles(cluster: "Cluster", namespace: str, name: str) -> list[Trouble]:
    """The newest warnings about an object, newest first; repeated ones once."""
    selector = f"involvedObject.name={name},type=Warning"
    events = sorted(cluster.list("events", namespace, fieldSelector=selector),
                    key=_event_time, reverse=True)  # fmt: skip
    messages = dict.fromkeys(f"{each.get('reason', '')}: {each.get('message', '')}"
                             for each in events)  # fmt: skip
    return [Trouble(f"event of {name}", text, explain.recognise(text, namespace=namespace))
            for text in list(messages)[:LAST_EVENTS]]  # fmt: skip


def troubles_text(troubles: Iterable[Trouble]) -> str:
    """Troubles as text, one a line; empty if there are none."""
    return "\n".join(dict.fromkeys(map(str, troubles)))


def permanent_text(troubles: Iterable[Trouble]) -> str:
    """The troubles that make waiting longer useless, as text."""
    return troubles_text(each for each in troubles
                         if each.explanation and not each.explanation.transient)  # fmt: skip


def pending_reason(message: str) -> str:
    """The scheduler's reasons without what it says of preemption and resource claims."""
    return message.partition(". ")[0].rstrip(".")


def _event_time(event: dict[str, Any]) -> str:
    times = (event.get("lastTimestamp"), event.get("eventTime"),
             (event.get("series") or {}).get("lastObservedTime"))  # fmt: skip
    return max((each for each in times if each), default="")
