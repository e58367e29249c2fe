"""The cluster a run works in, through the official client; its errors as sentences."""

# the client's modules are large and load when first named: annotations must not name them
from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException, NotFoundException
from kubernetes.config import ConfigException

from helpers import programs
from helpers.cloud.account import Account
from helpers.cloud.stack import Stack
from helpers.cluster import explain, kubeconfig
from helpers.errors import Problem, Unavailable
from helpers.run import Run, write_atomically

REQUEST_S = (10.0, 60.0)  # to connect, to read
RETRIES = 2
FIELD_MANAGER = "gpu-e2e"
VERSIONS = {
    "deployments": "apps/v1", "daemonsets": "apps/v1", "replicasets": "apps/v1",
    "statefulsets": "apps/v1", "ingresses": "networking.k8s.io/v1",
    "endpointslices": "discovery.k8s.io/v1", "customresourcedefinitions": "apiextensions.k8s.io/v1",
    "apiservices": "apiregistration.k8s.io/v1", "targetgroupbindings": "elbv2.k8s.aws/v1beta1",
}  # fmt: skip


class Api(client.ApiClient):
    """The official client, with a time-out if the caller gives none: it has none of its own."""

    def call_api(self, *arguments: Any, **options: Any) -> Any:
        """Make one request."""
        options["_request_timeout"] = options.get("_request_timeout") or REQUEST_S
        return super().call_api(*arguments, **options)


@dataclass(frozen=True)
class Cluster:
    """A cluster that can be asked."""

    name: str  # name for people: the EKS cluster, or the user's context
    kubeconfig: str  # file for Helm and kubectl; empty for the user's own
    context: str  # context in it
    api: client.ApiClient = field(repr=False)  # the official client
    own: bool = True  # whether it is the run's own stack (False: the user's context)

    @property
    def core(self) -> client.CoreV1Api:
        """Nodes, pods, events, namespaces."""
        return client.CoreV1Api(self.api)

    def kubectl(self) -> list[str]:
        """The command line that kubectl is called with for this cluster."""
        place = [f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else []
        return [str(programs.need("kubectl")), *place, f"--context={self.context}"]

    def get(self, kind: str, name: str, namespace: str = "") -> dict[str, Any] | None:
        """An object of a kind such as `deployments` as the API's JSON; None if it is not there."""
        with asking(f"{kind} {name}", namespace=namespace), suppress(NotFoundException):
            return self._request("GET", self._path(kind, namespace, name))
        return None

    def list(self, kind: str, namespace: str = "", **options: str) -> list[dict[str, Any]]:
        """Objects of a kind as the API's JSON, of a namespace or all; none of an unknown kind."""
        items: list[dict[str, Any]] = []
        what = f"The {kind} of {namespace or 'the cluster'}"
        with asking(what, namespace=namespace), suppress(NotFoundException):
            items = self._request("GET", self._path(kind, namespace), options).get("items") or []
        return items

    def delete(self, kind: str, name: str, namespace: str = "", grace_s: int | None = None) -> None:
        """Delete an object, if it is there; a finalizer may hold it for longer."""
        what, path = f"The removal of {kind} {name}", self._path(kind, namespace, name)
        with asking(what, namespace=namespace), suppress(NotFoundException):
            self._request("DELETE", path, {"gracePeriodSeconds": grace_s})

    def patch(self, kind: str, name: str, namespace: str, part: Mapping[str, Any]) -> None:
        """Merge a part into an object, its lists by their keys (strategic merge patch)."""
        with asking(f"The change of {kind} {name}", namespace=namespace):
            self._request("PATCH", self._path(kind, namespace, name), part=part)

    def last_lines(
        self, pod: Mapping[str, Any], container: str, count: int, *, previous: bool
    ) -> str:
        """A container's last log lines; empty if there are none."""
        meta = pod["metadata"]
        with suppress(ApiException):
            return str(self.core.read_namespaced_pod_log(
                meta["name"], meta["namespace"], container=container, previous=previous,
                tail_lines=count,
            )).strip()  # fmt: skip
        return ""

    def _path(self, kind: str, namespace: str, name: str = "") -> str:
        version = VERSIONS.get(kind)
        place = f"/namespaces/{namespace}" if namespace else ""
        root = f"/apis/{version}" if version else "/api/v1"
        return f"{root}{place}/{kind}{f'/{name}' if name else ''}"

    def _request(
        self, method: str, path: str, query: Mapping[str, Any] | None = None, part: Any = None
    ) -> dict[str, Any]:
        given = [(key, value) for key, value in (query or {}).items() if value is not None]
        headers = {"Accept": "application/json"}
        headers |= {"Content-Type": "application/strategic-merge-patch+json"} if part else {}
        request = self.api.param_serialize(
            method, path, query_params=given, header_params=headers, body=part,
            auth_settings=["BearerToken"],
        )  # fmt: skip
        response = self.api.call_api(*request)
        text: bytes = response.read() or b"{}"  # type: ignore[no-untyped-call]
        if not 200 <= response.status < 300:
            kind = NotFoundException if response.status == 404 else ApiException
            raise kind(http_resp=response, body=text.decode(errors="replace"))
        body: dict[str, Any] = json.loads(text)
        return body


def connect(run: Run, account: Account) -> Cluster:
    """The cluster of the run: the user's context if the profile names one, else the stack's.

    `Unavailable` in a rehearsal without a context, which has no cluster.
    """
    if context := run.profile.cluster.context:
        return context_cluster(context)
    if run.profile.target != "aws":
        raise Unavailable(
            "A rehearsal has no cluster of its own.",
            "Name a context of your kubeconfig in cluster.context of the profile, or use AWS.",
        )
    return stack_cluster(run.folder / "cluster", account, run.load(Stack))


def context_cluster(context: str, file: str = "") -> Cluster:
    """The cluster of a context in a kubeconfig, by default the user's."""
    settings = client.Configuration()
    try:
        config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=file or None, context=context, client_configuration=settings,
            persist_config=False,
        )  # fmt: skip
    except (ConfigException, yaml.YAMLError, OSError) as error:
        raise Problem(
            f"The context '{context}' cannot be used: {str(error).rstrip('.')}.",
            "Name one of 'kubectl config get-contexts' in cluster.context of the profile.",
        ) from error
    settings.retries = RETRIES
    return Cluster(context, file, context, Api(settings), own=False)


def stack_cluster(folder: Path, account: Account, stack: Stack) -> Cluster:
    """The EKS cluster of a stack; its kubeconfig and certificate authority are kept in `folder`.

    Its token is renewed before it expires.
    """
    file = kubeconfig.write(folder, account, stack)
    authority = folder / "ca.crt"
    write_atomically(authority, base64.b64decode(stack.cluster_certificate_authority))
    settings = client.Configuration(host=stack.cluster_endpoint)
    settings.ssl_ca_cert, settings.retries = str(authority), RETRIES
    held: list[kubeconfig.Token] = []

    def renew(settings: Any) -> None:
        if not (held and held[-1].is_valid()):
            held[:] = [kubeconfig.token(account, stack.cluster_name)]
            settings.api_key["BearerToken"] = f"Bearer {held[-1].value}"

    renew(settings)
    settings.refresh_api_key_hook = renew  # type: ignore[assignment]
    return Cluster(stack.cluster_name, str(file), stack.cluster_name, Api(settings))


@contextmanager
def asking(what: str, **facts: str) -> Iterator[None]:
    """Turn an error of the cluster inside the block into one sentence with the next step.

    `what` is asked for, such as `The list of nodes`; the facts are for `helpers.cluster.explain`.
    """
    try:
        yield
    except ApiException as error:
        raise explain.problem(what, refusal(error), **facts) from error
    except urllib3.exceptions.HTTPError as error:
        raise explain.problem(what, f"cluster unreachable: {error}", **facts) from error


def refusal(error: ApiException) -> str:
    """What the API server said: its message, its reason, and the status."""
    message = str(error.body or "")
    with suppress(yaml.YAMLError):
        body = yaml.safe_load(message)
        message = str(body.get("message", "")) if isinstance(body, Mapping) else message
    return f"{message} ({error.reason}, HTTP {error.status})".strip()


def ensure_namespace(cluster: Cluster, name: str, labels: Mapping[str, str]) -> None:
    """Make a namespace, or give the one that exists its labels."""
    body = client.V1Namespace(metadata=client.V1ObjectMeta(name=name, labels=dict(labels)))
    with asking(f"The namespace {name}", namespace=name):
        try:
            cluster.core.create_namespace(body, field_manager=FIELD_MANAGER)
        except ApiException as error:
            if error.status != 409:
                raise
            cluster.core.patch_namespace(name, body, field_manager=FIELD_MANAGER)
