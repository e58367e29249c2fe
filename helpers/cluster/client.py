"""The cluster a run works in, through the official client; its errors as sentences."""

# the client's modules are large and load when first named: annotations must not name them
from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3
import yaml
from kubernetes import client, config
from kubernetes.client.exceptions import ApiException
from kubernetes.config import ConfigException
from kubernetes.dynamic import DynamicClient

from helpers.cloud.account import Account
from helpers.cloud.reports import Stack
from helpers.cluster import explain, kubeconfig
from helpers.errors import Problem, Unavailable
from helpers.run import Run, write_atomically

REQUEST_S = (10.0, 60.0)  # to connect, to read
RETRIES = 2
FIELD_MANAGER = "gpu-e2e"
FOLDER = "cluster"


class Api(client.ApiClient):
    """The official client, with a time-out where the caller gives none: it has none of its own."""

    def call_api(self, *arguments: Any, **options: Any) -> Any:
        """Make one request."""
        options["_request_timeout"] = options.get("_request_timeout") or REQUEST_S
        return super().call_api(*arguments, **options)


@dataclass(frozen=True)
class Cluster:
    """A cluster that can be asked.

    Attributes:
        name: What people call it: the EKS cluster, or the user's context.
        kubeconfig: File for Helm and kubectl; empty for the user's own.
        context: Context in it.
        api: The official client.
        own: Whether it is the run's own stack (False: the user's context).
    """

    name: str
    kubeconfig: str
    context: str
    api: client.ApiClient = field(repr=False)
    own: bool = True

    @property
    def core(self) -> client.CoreV1Api:
        """Nodes, pods, events, namespaces."""
        return client.CoreV1Api(self.api)

    @property
    def apps(self) -> client.AppsV1Api:
        """Deployments and daemon sets."""
        return client.AppsV1Api(self.api)

    @property
    def networking(self) -> client.NetworkingV1Api:
        """Ingresses."""
        return client.NetworkingV1Api(self.api)

    @property
    def discovery(self) -> client.DiscoveryV1Api:
        """Endpoints of services."""
        return client.DiscoveryV1Api(self.api)

    def dynamic(self) -> DynamicClient:
        """The client for objects of any kind; asks the cluster which kinds there are."""
        return DynamicClient(self.api)  # type: ignore[no-untyped-call]

    def plain(self, thing: Any) -> Any:
        """An answer of the official client as the API's own JSON."""
        return self.api.sanitize_for_serialization(thing)  # type: ignore[no-untyped-call]


def connect(run: Run, account: Account) -> Cluster:
    """The cluster of the run: the user's context where the profile names one, else the stack's.

    Raises:
        Unavailable: There is none: a rehearsal has no cluster of its own.
        Problem: The context does not exist, the stack is not applied, or there are no credentials.
    """
    if context := run.profile.cluster.context:
        return of_context(context)
    if run.profile.target != "aws":
        raise Unavailable(
            "A rehearsal has no cluster of its own.",
            "Name a context of your kubeconfig in cluster.context of the profile, or use AWS.",
        )
    return of_stack(run, account, run.load(Stack))


def of_context(context: str, file: str = "") -> Cluster:
    """The cluster of a context in the user's kubeconfig.

    Args:
        context: The context's name.
        file: The kubeconfig; empty means `KUBECONFIG` or the one in the home folder.

    Raises:
        Problem: There is no such context, or the file cannot be read.
    """
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


def of_stack(run: Run, account: Account, stack: Stack) -> Cluster:
    """The EKS cluster of the run's stack; its token is renewed before it expires.

    Raises:
        Problem: There are no usable credentials.
    """
    eks = kubeconfig.Eks(
        stack.cluster_name, stack.cluster_endpoint, stack.cluster_certificate_authority
    )
    return of_eks(run.folder / FOLDER, account, eks)


def of_eks(folder: Path, account: Account, eks: kubeconfig.Eks) -> Cluster:
    """An EKS cluster; its kubeconfig and its certificate authority are written into `folder`.

    Raises:
        Problem: There are no usable credentials.
    """
    file = kubeconfig.write(folder, account, eks)
    authority = folder / "ca.crt"
    write_atomically(authority, base64.b64decode(eks.authority))
    settings = client.Configuration(host=eks.endpoint)
    settings.ssl_ca_cert = str(authority)
    settings.retries = RETRIES
    renew = _renewing(account, eks.name)
    renew(settings)
    settings.refresh_api_key_hook = renew
    return Cluster(eks.name, str(file), eks.name, Api(settings))


@contextmanager
def asking(what: str, **facts: str) -> Iterator[None]:
    """Turn what the cluster refuses inside the block into one sentence with the next step.

    Args:
        what: What is asked for, such as `The list of nodes`.
        **facts: For the sentences of `helpers.cluster.explain`.

    Raises:
        Problem: The cluster refused or cannot be reached (`Passing` where that may pass).
    """
    try:
        yield
    except ApiException as error:
        raise explain.problem(what, refusal(error), **facts) from error
    except urllib3.exceptions.HTTPError as error:
        raise explain.problem(what, f"cluster unreachable: {error}", **facts) from error


def refusal(error: ApiException) -> str:
    """What the API server said: its message, its reason, and the status."""
    said = ""
    try:
        body = yaml.safe_load(error.body or "")
        said = str(body.get("message", "")) if isinstance(body, Mapping) else str(error.body or "")
    except yaml.YAMLError:
        said = str(error.body)
    return f"{said} ({error.reason}, HTTP {error.status})".strip()


def delete(call: Any, *place: str) -> None:
    """Delete an object; one that is gone already is as good.

    An object that a finalizer holds is there until its controller has acted.

    Args:
        call: The official client's method, such as `core.delete_namespaced_service`.
        place: Its name, and its namespace where it has one.

    Raises:
        ApiException: The cluster refuses; to be called inside `asking`.
    """
    try:
        call(*place)
    except ApiException as error:
        if error.status != 404:
            raise


def ensure_namespace(cluster: Cluster, name: str, labels: Mapping[str, str]) -> None:
    """Make a namespace, or give the one that exists its labels.

    Raises:
        Problem: The cluster refuses.
    """
    body = client.V1Namespace(metadata=client.V1ObjectMeta(name=name, labels=dict(labels)))
    with asking(f"The namespace {name}", namespace=name):
        try:
            cluster.core.create_namespace(body, field_manager=FIELD_MANAGER)
        except ApiException as error:
            if error.status != 409:
                raise
            cluster.core.patch_namespace(name, body, field_manager=FIELD_MANAGER)


def _renewing(account: Account, cluster: str) -> Any:
    held: list[kubeconfig.Token] = []

    def renew(settings: Any) -> None:
        if not (held and held[-1].lives()):
            held[:] = [kubeconfig.token(account, cluster)]
            settings.api_key["BearerToken"] = f"Bearer {held[-1].value}"

    return renew
