"""Access to Prometheus and Grafana: local in a rehearsal, through the cluster's API on AWS.

Forwarded ports are for queries only. A load never uses one: it would measure the forwarding.
Functions raise `Problem` if a process does not start, or the cluster refuses or lacks a service.
"""

import base64
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from kubernetes import client

from helpers.cloud.account import Account
from helpers.cluster import client as clusters
from helpers.cluster import contract
from helpers.cluster.client import Cluster
from helpers.errors import Problem, Unavailable
from helpers.run import Run
from helpers.serving.records import Endpoint
from helpers.telemetry import prometheus
from helpers.telemetry.grafana import Grafana
from helpers.telemetry.prometheus_api import Prometheus

PROMETHEUS_SERVICE = "prometheus-operated"  # the operator creates it for every Prometheus
GRAFANA_LABEL = "app.kubernetes.io/name=grafana"
ADMIN_NAME, ADMIN_PASSWORD = "admin-user", "admin-password"
INSTALL_AGAIN = "Install the release of the monitoring stack again (stage 02)."
TOKEN_SECRET, TOKEN_KEY = "gpu-e2e-grafana-token", "token"
SERVICE_ACCOUNT = "gpu-e2e"
TOKEN_LIFETIME_S = 24 * 3600
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Access:
    """What a run can query."""

    prometheus: Prometheus | None  # Prometheus; None if this machine has none
    grafana: Grafana | None = None  # Grafana; None in a rehearsal
    cluster: Cluster | None = field(default=None, repr=False)  # the cluster; None in a rehearsal
    # the AWS account of the run's Auto Scaling group; None in a rehearsal
    account: Account | None = None


def connect(run: Run, endpoint: Endpoint) -> Access:
    """Start or find everything that can be queried; `Unavailable` without the program for it."""
    if run.profile.target != "aws":
        return Access(prometheus.serve(run, endpoint))
    account = Account(run.profile.region)
    cluster = clusters.connect(run, account)
    namespace = contract.load().namespaces.monitoring
    server = Prometheus(forward_port(run, cluster, namespace, PROMETHEUS_SERVICE, 9090, "/-/ready"))
    service = _grafana_service(cluster, namespace)
    url = forward_port(run, cluster, namespace, service, 80, "/api/health")
    return Access(server, Grafana(url, grafana_token(cluster, namespace, url)), cluster, account)


def connect_optional(run: Run, endpoint: Endpoint) -> Access:
    """As `connect`; on a machine without Prometheus, print why and give access to nothing."""
    try:
        return connect(run, endpoint)
    except Unavailable as reason:
        print(f"No series of server and machine: {reason}")
        return Access(None)


def forward_port(
    run: Run, cluster: Cluster, namespace: str, service: str, port: int, ready_path: str
) -> str:
    """Forward a port of this machine to a service of the cluster; returns its base URL.

    `ready_path` answers successfully once the port is forwarded.
    """

    def command(local: int) -> list[str | Path]:
        return [*cluster.kubectl(), f"--namespace={namespace}", "port-forward",
                "--address=127.0.0.1", f"service/{service}", f"{local}:{port}"]  # fmt: skip

    name, program = f"port-forward-{service}", "kubectl port-forward"
    return prometheus.start_service(run, name, command, ready_path, program=program)


def grafana_token(cluster: Cluster, namespace: str, url: str) -> str:
    """The token of Grafana's service account, from a secret that is made if there is none."""
    if stored := cluster.get("secrets", TOKEN_SECRET, namespace):
        return _decoded(stored["data"][TOKEN_KEY])
    token = _new_token(url, _admin_login(cluster, namespace))
    labels = {"app.kubernetes.io/part-of": SERVICE_ACCOUNT}
    metadata = client.V1ObjectMeta(name=TOKEN_SECRET, labels=labels)
    secret = client.V1Secret(metadata=metadata, string_data={TOKEN_KEY: token})
    with clusters.asking(f"The secret {TOKEN_SECRET}", namespace=namespace):
        cluster.core.create_namespaced_secret(namespace, secret)
    return token


def _admin_login(cluster: Cluster, namespace: str) -> tuple[str, str]:
    """The admin's name and password, from the secret that Grafana's pod reads."""
    for secret in cluster.list("secrets", namespace):
        data = secret.get("data") or {}
        if data.keys() >= {ADMIN_NAME, ADMIN_PASSWORD}:
            return _decoded(data[ADMIN_NAME]), _decoded(data[ADMIN_PASSWORD])
    keys = f"{ADMIN_NAME}, {ADMIN_PASSWORD}"
    what = f"Namespace {namespace} has no secret with Grafana's admin ({keys})."
    raise Problem(what, INSTALL_AGAIN)


def _new_token(url: str, admin: tuple[str, str]) -> str:
    """Create a service account with the role Editor, and a token that expires after a day."""
    name = f"{SERVICE_ACCOUNT}-{secrets.token_hex(4)}"
    accounts = f"{url}/api/serviceaccounts"
    try:
        with requests.Session() as session:
            session.trust_env, session.auth = False, admin
            session.hooks["response"] = lambda response, **_: response.raise_for_status()
            body: dict[str, Any] = {"name": name, "role": "Editor"}
            account = session.post(accounts, json=body, timeout=TIMEOUT_S).json()["id"]
            body = {"name": name, "secondsToLive": TOKEN_LIFETIME_S}
            tokens = f"{accounts}/{account}/tokens"
            return str(session.post(tokens, json=body, timeout=TIMEOUT_S).json()["key"])
    except (requests.RequestException, ValueError) as error:
        status = getattr(getattr(error, "response", None), "status_code", "no answer")
        raise Problem(
            f"Grafana's admin cannot create a service account (HTTP {status}).",
            "Compare the admin's secret with the one that Grafana was started with; after a change "
            "of the secret its pod must be restarted.",
        ) from None  # the error could quote the request


def _grafana_service(cluster: Cluster, namespace: str) -> str:
    for service in cluster.list("services", namespace, labelSelector=GRAFANA_LABEL):
        return str(service["metadata"]["name"])
    what = f"Namespace {namespace} has no service with the label {GRAFANA_LABEL}."
    raise Problem(what, INSTALL_AGAIN)


def _decoded(encoded: str | bytes) -> str:
    return base64.b64decode(encoded).decode()
