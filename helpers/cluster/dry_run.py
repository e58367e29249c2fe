"""What a kubeconfig adds: the API server's own answer to every object, and a real installation.

Opt-in: the profile's `cluster.context`, or `GPU_E2E_KUBECONTEXT` for the tests, names a context of
the user's own kubeconfig (kind, minikube, any cluster). Everything that is made there is removed.
"""

import contextlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from kubernetes.client import V1Namespace, V1ObjectMeta
from kubernetes.client.exceptions import ApiException
from kubernetes.dynamic.exceptions import ResourceNotFoundError

from helpers.cluster import client, contract, nodes, rollout_wait
from helpers.cluster.checks import Answer
from helpers.cluster.client import Cluster
from helpers.cluster.fields import Field
from helpers.cluster.findings import Finding
from helpers.cluster.helm import Helm
from helpers.cluster.lock import Lock
from helpers.cluster.objects import Resource
from helpers.cluster.rendering import CHART
from helpers.errors import Unavailable
from helpers.run import Run

CPU_VALUES = CHART / "values-cpu.yaml"
MANAGER = "gpu-e2e-dry-run"
REFUSALS = (400, 403, 404, 409, 422)
# what a server-side apply says of values of a wrong form, with status 500
WRONG_FORM = ("failed to create typed patch object", "failed to convert new object")


def of_run(run: Run) -> Cluster:
    """The cluster of the user's context.

    Raises:
        Unavailable: The profile names none.
        Problem: There is no such context.
    """
    if not run.profile.cluster.context:
        raise Unavailable("The profile names no context of a kubeconfig (cluster.context).")
    return client.of_context(run.profile.cluster.context)


def ask(cluster: Cluster, bodies: Sequence[Mapping[str, Any]]) -> Answer:
    """Have the API server apply every object without storing it; what it says.

    Objects of a namespace that is not there are asked for in one that is made for the question,
    under a name of its own: one that was used just before may still be on its way out.

    Args:
        cluster: Whose API server.
        bodies: Objects with their namespace.

    Raises:
        Problem: The cluster cannot be reached.
    """
    wanted = {Field(one)["metadata"]["namespace"].text for one in bodies} - {""}
    refused: list[Finding] = []
    unknown: list[Resource] = []
    with contextlib.ExitStack() as made:
        places = {name: made.enter_context(_place(cluster, name)) for name in sorted(wanted)}
        kinds = cluster.dynamic().resources
        for body in bodies:
            try:
                refused += _apply(kinds, body, places)
            except ResourceNotFoundError:
                unknown.append(Resource(body))
    return Answer(tuple(refused), tuple(unknown))


def install(run: Run, cluster: Cluster, image: str, models: Sequence[str]) -> str:
    """Install the chart with its CPU values, wait, and run `helm test`; what Helm says of it.

    Its namespace is labelled as Triton's own is, so that Pod Security admission judges the pods.

    Args:
        run: Whose patience is used.
        cluster: Where.
        image: `repository@sha256:…` that the cluster's nodes can pull.
        models: Names of models in it, with KIND_CPU instance groups.

    Raises:
        Problem: Helm, the rollout or the test failed; the sentence says why.
    """
    release, helm = f"triton-{uuid.uuid4().hex[:6]}", Helm.of(cluster, run.mark)
    repository, _, digest = image.partition("@")
    chosen = run.write(
        "cluster/values/dry-run.yaml",
        f"image: {{repository: {repository}, digest: '{digest}'}}\n"
        f"modelRepository: {{load: {list(models)}}}\n",
    )
    with namespace(cluster, release, _labels(contract.load().namespaces.triton)):
        try:  # an installation that fails half-way leaves objects of the whole cluster, too
            helm.apply(release, CHART, release, _values(chosen))
            pace = nodes.pace(run, run.profile.cluster.rollout_s)
            rollout_wait.wait(cluster, release, release, pace)
            return helm.test(release, release)
        finally:
            helm.remove(release, release)


@contextlib.contextmanager
def namespace(cluster: Cluster, name: str, labels: Mapping[str, str]) -> Iterator[None]:
    """A new namespace that is removed again.

    Raises:
        Problem: The cluster refuses, as where there is one of that name, or cannot be reached.
    """
    meta = V1ObjectMeta(name=name, labels=dict(labels))
    with client.asking(f"The namespace {name}", namespace=name):
        cluster.core.create_namespace(V1Namespace(metadata=meta))
    try:
        yield
    finally:
        with client.asking(f"The removal of namespace {name}", namespace=name):
            client.delete(cluster.core.delete_namespace, name)


@contextlib.contextmanager
def _place(cluster: Cluster, name: str) -> Iterator[str]:
    """Where objects of a namespace can be asked for: there, or in one like it."""
    if _stands(cluster, name):
        yield name
        return
    other = f"{name}-{uuid.uuid4().hex[:6]}"
    with namespace(cluster, other, _labels(name)):
        yield other


def _stands(cluster: Cluster, name: str) -> bool:
    with client.asking(f"The namespace {name}", namespace=name):
        found = cluster.plain(cluster.core.list_namespace())["items"]
    return any(
        one["metadata"]["name"] == name and one.get("status", {}).get("phase") != "Terminating"
        for one in found
    )


def _labels(name: str) -> dict[str, str]:
    """Those that a namespace has in the lock file."""
    return next((one.labels for one in Lock.load().namespaces if one.name == name), {})


def _values(chosen: Path) -> list[Path]:
    return [contract.CONTRACT, CPU_VALUES, chosen]


def _apply(kinds: Any, body: Mapping[str, Any], places: Mapping[str, str]) -> Iterator[Finding]:
    one = Resource(body)
    if not one.name:
        yield one.fault(one["metadata"]["name"], "there is none", "a name")
        return
    place = places.get(one["metadata"]["namespace"].text)
    placed = {**body, "metadata": body["metadata"] | ({"namespace": place} if place else {})}
    with client.asking(f"The dry run of {one.id}"):
        try:
            resource = kinds.get(api_version=one.api_version, kind=one.kind)
            resource.server_side_apply(
                body=placed, name=one.name, namespace=place, field_manager=MANAGER, dry_run="All",
                query_params=[("fieldValidation", "Strict")], force_conflicts=True,
            )  # fmt: skip
        except ApiException as error:
            said = client.refusal(error)
            if not (error.status in REFUSALS or said.startswith(WRONG_FORM)):
                raise
            right = "an object that the API server takes"
            yield Finding(object=one.id, field=_field(said), wrong=said, right=right)


def _field(said: str) -> str:
    """The field that the server's sentence begins with, as in `… is invalid: spec.x: Required`."""
    tail = said.partition(" is invalid: ")[2]
    return tail.partition(":")[0] if tail else ""
