"""The way to Prometheus and Grafana: local in a rehearsal, through the cluster's API on AWS.

Ports are forwarded for queries alone; a load never goes through a forwarded port, which would
measure the forwarding.
"""

import base64
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from kubernetes import client
from kubernetes.client.exceptions import ApiException

from helpers import processes, programs
from helpers.cloud.account import Account
from helpers.cluster import client as clusters
from helpers.cluster import contract
from helpers.cluster.client import Cluster
from helpers.errors import Problem, Unavailable
from helpers.processes import answers
from helpers.run import Run
from helpers.serving.endpoint import Endpoint
from helpers.telemetry import prometheus
from helpers.telemetry.grafana import Grafana
from helpers.telemetry.server import Server

NO_GRAFANA = "a rehearsal has no Grafana: its pictures are drawn from the same dashboards"
OPERATED = "prometheus-operated"  # the service that the operator makes for every Prometheus
GRAFANA_LABEL = "app.kubernetes.io/name=grafana"
ADMIN_LABELS = ("admin-user", "admin-password")
TOKEN_SECRET, TOKEN_KEY = "gpu-e2e-grafana-token", "token"
SERVICE_ACCOUNT = "gpu-e2e"
TOKEN_LIFETIME_S = 24 * 3600
TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Access:
    """Whom a run can ask.

    Attributes:
        server: Prometheus; None where this machine has none.
        grafana: Grafana; None in a rehearsal.
        cluster: The cluster; None in a rehearsal.
        account: The AWS account of the run's Auto Scaling group; None in a rehearsal.
    """

    server: Server | None
    grafana: Grafana | None = None
    cluster: Cluster | None = field(default=None, repr=False)
    account: Account | None = None


def where_possible(run: Run, endpoint: Endpoint) -> Access:
    """As `of`; nobody, and one printed sentence, on a machine that cannot have Prometheus.

    Raises:
        Problem: Something does not start, or the cluster lacks it.
    """
    try:
        return of(run, endpoint)
    except Unavailable as reason:
        print(f"No series of server and machine: {reason}")
        return Access(None)


def of(run: Run, endpoint: Endpoint) -> Access:
    """Open the way to everybody who can be asked.

    Args:
        run: The run.
        endpoint: Its Triton, which a local Prometheus is pointed at.

    Raises:
        Unavailable: This machine has no Prometheus, or no kubectl.
        Problem: Something does not start, or the cluster lacks it.
    """
    if run.profile.target != "aws":
        return Access(prometheus.serve(run, endpoint))
    account = Account(run.profile.region)
    cluster = clusters.connect(run, account)
    namespace = contract.load().namespaces.monitoring
    server = Server(forward(run, cluster, namespace, OPERATED, 9090, "/-/ready"))
    name = _service(cluster, namespace, GRAFANA_LABEL)
    url = forward(run, cluster, namespace, name, 80, "/api/health")
    return Access(server, Grafana(url, token(cluster, namespace, url)), cluster, account)


def forward(run: Run, cluster: Cluster, namespace: str, service: str, port: int, path: str) -> str:
    """A port of this machine that leads to a service of the cluster; returns its base URL.

    Args:
        run: The run, whose services hold the process.
        cluster: The cluster.
        namespace: Of the service.
        service: Its name.
        port: Its port.
        path: Answers well once the way is open.

    Raises:
        Unavailable: There is no kubectl.
        Problem: The way does not open; the sentence quotes kubectl's log.
    """
    name = f"way-to-{service}"
    if running := processes.find(run, name):
        return f"http://127.0.0.1:{running.ports['http']}"
    local = processes.free_port()
    url = f"http://127.0.0.1:{local}"
    place = [f"--kubeconfig={cluster.kubeconfig}"] if cluster.kubeconfig else []
    command: list[str | Path] = [
        programs.need("kubectl"), *place,
        f"--context={cluster.context}", f"--namespace={namespace}",
        "port-forward", "--address=127.0.0.1", f"service/{service}", f"{local}:{port}",
    ]  # fmt: skip
    processes.start(
        run, name, command, ports={"http": local}, ready=lambda: answers(url + path),
        timeout_s=TIMEOUT_S, program="kubectl port-forward",
    )  # fmt: skip
    return url


def token(cluster: Cluster, namespace: str, url: str) -> str:
    """The token of Grafana's service account, from the cluster's secret.

    Where there is none yet, the account is made with the admin's password, which stays in its own
    secret, and the token is kept for the next time.

    Args:
        cluster: The cluster.
        namespace: Of Grafana.
        url: Grafana's address.

    Raises:
        Problem: The cluster refuses, or there is neither token nor admin.
    """
    if known := _secret(cluster, namespace, TOKEN_SECRET):
        return known[TOKEN_KEY]
    made = _new_token(url, _admin(cluster, namespace))
    body = client.V1Secret(
        metadata=client.V1ObjectMeta(name=TOKEN_SECRET, labels={"app.kubernetes.io/part-of":
                                                                SERVICE_ACCOUNT}),
        string_data={TOKEN_KEY: made},
    )  # fmt: skip
    with clusters.asking(f"The secret {TOKEN_SECRET}", namespace=namespace):
        cluster.core.create_namespaced_secret(namespace, body)
    return made


def _admin(cluster: Cluster, namespace: str) -> tuple[str, str]:
    """The admin's name and password, from the secret that Grafana's pod reads."""
    with clusters.asking("Grafana's secrets", namespace=namespace):
        found = cluster.core.list_namespaced_secret(namespace).items
    for one in found:
        data = one.data or {}
        if all(key in data for key in ADMIN_LABELS):
            user, password = (_plain(data[key]) for key in ADMIN_LABELS)
            return user, password
    raise Problem(
        f"Namespace {namespace} has no secret with Grafana's admin ({', '.join(ADMIN_LABELS)}).",
        "Install the release of the monitoring stack again (stage 04).",
    )


def _new_token(url: str, admin: tuple[str, str]) -> str:
    """Make a service account with the role Editor, and a token of it that ends after a day."""
    name = f"{SERVICE_ACCOUNT}-{secrets.token_hex(4)}"
    with requests.Session() as session:
        session.trust_env = False
        session.auth = admin
        made = _post(session, f"{url}/api/serviceaccounts", {"name": name, "role": "Editor"})
        path = f"{url}/api/serviceaccounts/{made['id']}/tokens"
        return str(_post(session, path, {"name": name, "secondsToLive": TOKEN_LIFETIME_S})["key"])


def _post(session: requests.Session, url: str, body: dict[str, Any]) -> dict[str, Any]:
    try:
        answer = session.post(url, json=body, timeout=TIMEOUT_S)
        answer.raise_for_status()
        made: dict[str, Any] = answer.json()
    except (requests.RequestException, ValueError) as error:
        status = getattr(getattr(error, "response", None), "status_code", "no answer")
        raise Problem(
            f"Grafana's admin cannot make a service account (HTTP {status}).",
            "Compare the admin's secret with what Grafana was started with; a changed secret "
            "needs a restart of its pod.",
        ) from None  # the error may quote the request
    return made


def _secret(cluster: Cluster, namespace: str, name: str) -> dict[str, str]:
    """A secret's values; empty where there is no such secret."""
    with clusters.asking(f"The secret {name}", namespace=namespace):
        try:
            found = cluster.core.read_namespaced_secret(name, namespace)
        except ApiException as error:
            if error.status == 404:
                return {}
            raise
    return {key: _plain(value) for key, value in (found.data or {}).items()}


def _service(cluster: Cluster, namespace: str, label: str) -> str:
    with clusters.asking("The list of services", namespace=namespace):
        found = cluster.core.list_namespaced_service(namespace, label_selector=label).items
    if not found:
        raise Problem(
            f"Namespace {namespace} has no service with the label {label}.",
            "Install the release of the monitoring stack again (stage 04).",
        )
    service: Any = found[0]
    return str(service.metadata.name)


def _plain(encoded: str | bytes) -> str:
    return base64.b64decode(encoded).decode()
