"""The load balancer that its controller makes of an Ingress: waited for, and seen gone."""

import time
from typing import Any

from botocore.exceptions import ClientError

from helpers.cloud.account import Account, asking
from helpers.cluster import client, diagnose, waits
from helpers.cluster.client import Cluster
from helpers.cluster.live_reports import Balancer
from helpers.cluster.waits import Pace, Seen

CLUSTER_TAG = "elbv2.k8s.aws/cluster"
NO_GROUP = ("TargetGroupNotFound", "LoadBalancerNotFound")
TAGS_AT_ONCE = 20  # DescribeTags takes no more ARNs


def wait(cluster: Cluster, account: Account, namespace: str, pace: Pace) -> Balancer:
    """Wait until the Ingresses of a namespace have an address and every target group a target.

    Args:
        cluster: Where.
        account: Asked for the targets' health.
        namespace: Of the Ingresses.
        pace: Time-out, interval, and where progress goes.

    Raises:
        Problem: It does not come about in time; the sentence quotes the controller or the
            targets' state.
    """
    waits.until(
        "load balancer's address",
        lambda: _addressed(_ingresses(cluster, namespace)),
        lambda: _why(cluster, namespace),
        pace,
    )
    found = _ingresses(cluster, namespace)
    host = _hosts(found)[0]
    waits.until(
        "load balancer's targets",
        lambda: _served(health(account, host)),
        lambda: _unhealthy(health(account, host)),
        pace,
    )
    counts = {name: states.count("healthy") for name, states in health(account, host).items()}
    return Balancer(host=host, healthy=counts, secure=any(map(_is_secure, found)))


def health(account: Account, host: str) -> dict[str, list[str]]:
    """Target group → the state of each target (its reason where it is not healthy).

    Raises:
        Problem: AWS refuses, or cannot be reached.
    """
    elb = account.client("elbv2")
    with asking("the load balancer's targets"):
        arns = [
            one["LoadBalancerArn"] for one in balancers_of(elb) if one["DNSName"] == host.lower()
        ]
        groups = [group for arn in arns for group in _groups(elb, arn)]
        return {
            one["TargetGroupName"]: [
                _state(each["TargetHealth"])
                for each in elb.describe_target_health(TargetGroupArn=one["TargetGroupArn"])[
                    "TargetHealthDescriptions"
                ]
            ]
            for one in groups
        }


def of_cluster(account: Account, cluster: str, vpc: str) -> tuple[str, ...]:
    """Names of the load balancers that a cluster's controller has made, or that stand in its VPC.

    Raises:
        Problem: AWS refuses, or cannot be reached.
    """
    elb = account.client("elbv2")
    with asking("the load balancers"):
        found = balancers_of(elb)
        tagged = _tagged(elb, [one["LoadBalancerArn"] for one in found], cluster)
    return tuple(
        one["LoadBalancerName"]
        for one in found
        if one.get("VpcId") == vpc or one["LoadBalancerArn"] in tagged
    )


def wait_gone(account: Account, cluster: str, vpc: str, pace: Pace) -> float:
    """Wait until the last load balancer of a cluster is gone; seconds that it took.

    Raises:
        Problem: One is still there when the time is over.
    """
    begin = time.monotonic()
    waits.until(
        "load balancers gone",
        lambda: _gone(of_cluster(account, cluster, vpc)),
        lambda: (
            "Its controller has not removed it (the log of aws-load-balancer-controller says why). "
            "It blocks the VPC's removal: it has to be removed in AWS itself before Terraform "
            "destroys the rest."
        ),
        pace,
    )
    return time.monotonic() - begin


def balancers_of(elb: Any) -> list[dict[str, Any]]:
    """Every load balancer of the region, from all pages."""
    pages = elb.get_paginator("describe_load_balancers").paginate()
    return [one for page in pages for one in page["LoadBalancers"]]


def _groups(elb: Any, arn: str) -> list[dict[str, Any]]:
    """Target groups of a load balancer; one that has just been made may have none yet."""
    try:
        found: list[dict[str, Any]] = elb.describe_target_groups(LoadBalancerArn=arn)[
            "TargetGroups"
        ]
    except ClientError as error:
        if error.response["Error"]["Code"] in NO_GROUP:
            return []
        raise
    return found


def _tagged(elb: Any, arns: list[str], cluster: str) -> set[str]:
    found = set()
    for place in range(0, len(arns), TAGS_AT_ONCE):
        answer = elb.describe_tags(ResourceArns=arns[place : place + TAGS_AT_ONCE])
        for one in answer["TagDescriptions"]:
            if {"Key": CLUSTER_TAG, "Value": cluster} in one["Tags"]:
                found.add(one["ResourceArn"])
    return found


def _ingresses(cluster: Cluster, namespace: str) -> list[dict[str, Any]]:
    with client.asking(f"The Ingresses of {namespace}", namespace=namespace):
        answer = cluster.networking.list_namespaced_ingress(namespace)
    found: list[dict[str, Any]] = cluster.plain(answer)["items"]
    return found


def _hosts(ingresses: list[dict[str, Any]]) -> list[str]:
    entries = [
        entry
        for one in ingresses
        for entry in one.get("status", {}).get("loadBalancer", {}).get("ingress", [])
    ]
    return [one["hostname"] for one in entries if one.get("hostname")]


def _addressed(ingresses: list[dict[str, Any]]) -> Seen:
    if not ingresses:
        return Seen(
            False, "there is no Ingress",
            "Deploy Triton with ingress.enabled and the caller's CIDR.",
        )  # fmt: skip
    hosts = _hosts(ingresses)
    text = f"{len(hosts)} of {len(ingresses)} Ingresses have one"
    return Seen(len(hosts) == len(ingresses), f"{text}: {hosts[0]}" if hosts else text)


def _is_secure(ingress: dict[str, Any]) -> bool:
    annotations = ingress["metadata"].get("annotations", {})
    return "HTTPS" in annotations.get("alb.ingress.kubernetes.io/listen-ports", "")


def _why(cluster: Cluster, namespace: str) -> str:
    names = [one["metadata"]["name"] for one in _ingresses(cluster, namespace)]
    found = [one for name in names for one in diagnose.of_events(cluster, namespace, name)]
    return diagnose.told(found) or (
        "The load balancer controller has said nothing: is its release installed, and are its "
        "pods Ready?"
    )


def _state(found: dict[str, str]) -> str:
    return found["State"] if found["State"] == "healthy" else found.get("Reason", found["State"])


def _served(states: dict[str, list[str]]) -> Seen:
    parts = [f"{name}: {each.count('healthy')} of {len(each)}" for name, each in states.items()]
    done = bool(states) and all("healthy" in each for each in states.values())
    return Seen(done, "; ".join(parts) + " healthy" if parts else "no target group yet")


def _unhealthy(states: dict[str, list[str]]) -> str:
    bad = sorted({one for each in states.values() for one in each if one != "healthy"})
    if not bad:
        return "No pod is registered: is Triton Ready, and does its Service select it?"
    return (
        f"AWS says {', '.join(bad)}. Target.Timeout: a security group or NetworkPolicy keeps the "
        "load balancer out; Target.FailedHealthChecks or Target.ResponseCodeMismatch: Triton is "
        "not ready on /v2/health/ready; Elb.RegistrationInProgress: wait."
    )


def _gone(names: tuple[str, ...]) -> Seen:
    return Seen(not names, f"{', '.join(names)} still there" if names else "none left")
