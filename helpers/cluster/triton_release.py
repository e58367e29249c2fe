"""Triton in the cluster: deployed by digest, its rollout watched, its load balancer waited for."""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from helpers import promises
from helpers.cloud import sweep
from helpers.cloud.account import Account, asking
from helpers.cloud.stack import Stack
from helpers.cluster import client, explain, nodes, releases, waits
from helpers.cluster.chart_checks import CHART
from helpers.cluster.client import Cluster
from helpers.cluster.helm import Helm
from helpers.cluster.records import Balancer, ChartChecks, Deployed
from helpers.cluster.releases import Lock
from helpers.cluster.waits import Pace, Trouble, WaitState
from helpers.errors import Problem
from helpers.promises import Status
from helpers.run import Run

NAME = "triton"
# the user's own context only judges the chart
NO_CLUSTER = "A rehearsal has no cluster of its own: nothing was installed."
REVISION = "deployment.kubernetes.io/revision"
HASH = "pod-template-hash"
CLUSTER_TAG = "elbv2.k8s.aws/cluster"
LISTEN_PORTS = "alb.ingress.kubernetes.io/listen-ports"
TAGS_AT_ONCE = 20  # DescribeTags takes no more ARNs


def deploy(run: Run, account: Account, image: str) -> Deployed:
    """Install or upgrade Triton with an image (`repository@sha256:…`); record what serves.

    If there is no cluster, `absent` says why nothing does.
    """
    if run.profile.target != "aws":
        return run.save(Deployed(cluster="", namespace="", release=NAME, revision=0, image="",
                                 replicas=0, seconds=0.0, absent=NO_CLUSTER))  # fmt: skip
    cluster = client.stack_cluster(run.folder / "cluster", account, run.load(Stack))
    lock, begin = Lock.load(), time.monotonic()
    release = lock.named(NAME)
    files = releases.write_values(run, release, releases.values_facts(run, account, image))
    releases.prepare(cluster, lock)
    state = Helm(cluster, run.mark).apply(NAME, CHART, release.namespace, files)
    pace = waits.pace(run, run.profile.cluster.rollout_s)
    replicas = wait_for_rollout(cluster, release.namespace, NAME, pace)
    return run.save(Deployed(
        cluster=cluster.name, namespace=release.namespace, release=NAME, revision=state.revision,
        image=image, replicas=replicas, seconds=time.monotonic() - begin,
    ))  # fmt: skip


def address(run: Run, account: Account) -> Balancer:
    """Wait for the load balancer's address and healthy targets, and record them.

    From here on meter, cost report and the scan of 06 count it, even if it does not serve. If there
    is no cluster, `absent` says why there is none.
    """
    if run.profile.target != "aws":
        return run.save(Balancer(host="", healthy={}, secure=False, absent=NO_CLUSTER))
    cluster = client.stack_cluster(run.folder / "cluster", account, run.load(Stack))
    namespace = Lock.load().named(NAME).namespace
    try:
        pace = waits.pace(run, run.profile.cluster.balancer_s)
        balancer = wait_for_balancer(cluster, account, namespace, pace)
    except Problem:
        with suppress(Problem):  # why it does not serve matters more
            sweep.count_load_balancers(run, account)
        raise
    run.save(balancer)
    sweep.count_load_balancers(run, account)
    return balancer


def claim(run: Run, checked: ChartChecks, deployed: Deployed, balancer: Balancer) -> None:
    """Tick the promises of chart and Ingress: running on AWS, or only checked here."""
    records: dict[str, Deployed | Balancer] = {"03.helm": deployed, "03.ingress": balancer}
    for promise, record in records.items():
        if not record.absent:
            nodes.claim(run, promise, record, record.holds)
        elif checked.absent:
            promises.tick(run, promise, Status.NOT_RUN, note=checked.absent)
        else:
            status = Status.CHECKED if checked.holds else Status.FAILED
            note = f"{checked.summary}; {record.absent}"
            promises.tick(run, promise, status, evidence=checked.path(), note=note)


def wait_for_rollout(cluster: Cluster, namespace: str, name: str, pace: Pace) -> int:
    """Wait until every pod of a Deployment's newest revision is available; how many there are."""

    def read() -> dict[str, Any]:
        body = cluster.get("deployments", name, namespace)
        if body is None:
            raise Problem(f"There is no Deployment {name} in {namespace}.")
        return body

    def check() -> WaitState:
        body = read()
        status, wanted = body.get("status", {}), body["spec"].get("replicas", 1)
        if status.get("observedGeneration", 0) < body["metadata"]["generation"]:
            return WaitState(False, "the change has not been seen yet")
        updated, available = status.get("updatedReplicas", 0), status.get("availableReplicas", 0)
        text = f"{updated} of {wanted} pods made, {available} available"
        text += f", {old} old ones left" if (old := status.get("replicas", 0) - updated) else ""
        if updated >= wanted and available >= wanted and not old:
            return WaitState(True, text)
        troubles = _newest_pod_troubles(cluster, namespace, body)
        text += f"; {troubles[0].where}: {troubles[0].said}" if troubles else ""
        return WaitState(False, text, waits.permanent_text(troubles))

    def why() -> str:
        body = read()
        troubles = _newest_pod_troubles(cluster, namespace, body)
        troubles = troubles or waits.event_troubles(cluster, namespace, name)
        troubles += [
            Trouble(f"deployment {name}", f"{each.get('reason')}: {each.get('message')}",
                    explain.recognise(each.get("message", "")))
            for each in body.get("status", {}).get("conditions", [])
            if each["status"] == "False" or each["type"] == "ReplicaFailure"
        ]  # fmt: skip
        return waits.troubles_text(troubles) or (
            f"Its pods run and do not get ready: kubectl -n {namespace} describe pods"
        )

    waits.until(f"rollout of {name}", check, why, pace)
    return int(read()["status"].get("availableReplicas", 0))


def _newest_pod_troubles(
    cluster: Cluster, namespace: str, deployment: Mapping[str, Any]
) -> list[Trouble]:
    """What keeps the pods of the newest revision from being Ready; older ones are leaving."""
    labels = deployment["spec"]["selector"]["matchLabels"]
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    sets = cluster.list("replicasets", namespace, labelSelector=selector)
    newest: dict[str, Any] = max(
        (each["metadata"] for each in sets), default={},
        key=lambda meta: int(meta.get("annotations", {}).get(REVISION, 0)),
    )  # fmt: skip
    if template := newest.get("labels", {}).get(HASH):
        return waits.pod_troubles(cluster, namespace, f"{selector},{HASH}={template}")
    return []


def wait_for_balancer(cluster: Cluster, account: Account, namespace: str, pace: Pace) -> Balancer:
    """Wait until the Ingresses of a namespace have an address and every target group a target."""

    def ingresses() -> list[dict[str, Any]]:
        return cluster.list("ingresses", namespace)

    def hosts(bodies: list[dict[str, Any]]) -> list[str]:
        balancers = [body.get("status", {}).get("loadBalancer", {}) for body in bodies]
        return [entry["hostname"] for balancer in balancers
                for entry in balancer.get("ingress", []) if entry.get("hostname")]  # fmt: skip

    def has_address() -> WaitState:
        bodies = ingresses()
        if not bodies:
            advice = "Deploy Triton with ingress.enabled and the caller's CIDR."
            return WaitState(False, "there is no Ingress", advice)
        there = hosts(bodies)
        text = f"{len(there)} of {len(bodies)} Ingresses have one"
        return WaitState(len(there) == len(bodies), f"{text}: {there[0]}" if there else text)

    def no_address() -> str:
        troubles = [trouble for body in ingresses() for trouble in
                    waits.event_troubles(cluster, namespace, body["metadata"]["name"])]  # fmt: skip
        return waits.troubles_text(troubles) or (
            "The load balancer controller has reported nothing: is its release installed, and are "
            "its pods Ready?"
        )

    def serves() -> WaitState:
        groups = target_states(account, host).items()
        text = "; ".join(f"{name}: {each.count('healthy')} of {len(each)}" for name, each in groups)
        done = bool(groups) and all("healthy" in each for _, each in groups)
        return WaitState(done, f"{text} healthy" if text else "no target group yet")

    def unhealthy() -> str:
        states = {state for each in target_states(account, host).values() for state in each}
        if not (bad := sorted(states - {"healthy"})):
            return "No pod is registered: is Triton Ready, and does its Service select it?"
        return (
            f"AWS says {', '.join(bad)}. Target.Timeout: a security group "
            "or NetworkPolicy keeps the load balancer out; Target.FailedHealthChecks or "
            "Target.ResponseCodeMismatch: Triton is not ready on /v2/health/ready; "
            "Elb.RegistrationInProgress: wait."
        )

    waits.until("load balancer's address", has_address, no_address, pace)
    host = hosts(bodies := ingresses())[0]
    waits.until("load balancer's targets", serves, unhealthy, pace)
    healthy = {name: each.count("healthy") for name, each in target_states(account, host).items()}
    secure = any("HTTPS" in body["metadata"].get("annotations", {}).get(LISTEN_PORTS, "")
                 for body in bodies)  # fmt: skip
    return Balancer(host=host, healthy=healthy, secure=secure)


def target_states(account: Account, host: str) -> dict[str, list[str]]:
    """Target group → the state of each target (its reason if it is not healthy)."""
    elb = account.client("elbv2")
    groups: list[dict[str, Any]] = []
    with asking("the load balancer's targets"):
        arns = [each["LoadBalancerArn"] for each in all_balancers(elb)
                if each["DNSName"] == host.lower()]  # fmt: skip
        for arn in arns:  # one that has just been made may have no group yet
            with suppress(elb.exceptions.TargetGroupNotFoundException):
                groups += elb.describe_target_groups(LoadBalancerArn=arn)["TargetGroups"]
        answers = {group["TargetGroupName"]: elb.describe_target_health(
                       TargetGroupArn=group["TargetGroupArn"])["TargetHealthDescriptions"]
                   for group in groups}  # fmt: skip
    return {name: [state if (state := health["State"]) == "healthy" else health.get("Reason", state)
                   for target in targets if (health := target["TargetHealth"])]
            for name, targets in answers.items()}  # fmt: skip


def cluster_balancers(account: Account, cluster: str, vpc: str) -> tuple[str, ...]:
    """Names of the load balancers that a cluster's controller has made, or that are in its VPC."""
    elb = account.client("elbv2")
    with asking("the load balancers"):
        balancers = all_balancers(elb)
        arns, tagged = [each["LoadBalancerArn"] for each in balancers], set()
        for start in range(0, len(arns), TAGS_AT_ONCE):
            answer = elb.describe_tags(ResourceArns=arns[start : start + TAGS_AT_ONCE])
            tagged |= {each["ResourceArn"] for each in answer["TagDescriptions"]
                       if {"Key": CLUSTER_TAG, "Value": cluster} in each["Tags"]}  # fmt: skip
    return tuple(each["LoadBalancerName"] for each in balancers
                 if each.get("VpcId") == vpc or each["LoadBalancerArn"] in tagged)  # fmt: skip


def all_balancers(elb: Any) -> list[dict[str, Any]]:
    """Every load balancer of the region, from all pages."""
    return list(elb.get_paginator("describe_load_balancers").paginate().search("LoadBalancers[]"))
