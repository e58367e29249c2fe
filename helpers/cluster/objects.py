"""Rendered objects with typed access: names, places, labels, and pods wherever they stand."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from helpers.cluster.fields import Field
from helpers.cluster.findings import Finding

CLUSTER_SCOPED = frozenset({
    "APIService", "CSIDriver", "ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition",
    "IngressClass", "IngressClassParams", "MutatingWebhookConfiguration", "Namespace", "Node",
    "PersistentVolume", "PriorityClass", "RuntimeClass", "StorageClass",
    "ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding",
    "ValidatingWebhookConfiguration",
})  # fmt: skip
TEMPLATED = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Job")


@dataclass(frozen=True)
class Resource:
    """One object.

    Attributes:
        body: As the API takes it.
        release_namespace: Where it goes when it names no namespace itself.
    """

    body: Mapping[str, Any]
    release_namespace: str = "default"

    def __getitem__(self, key: str) -> Field:
        return Field(self.body)[key]

    @property
    def kind(self) -> str:
        """Such as `Deployment`."""
        return self["kind"].text

    @property
    def api_version(self) -> str:
        """Such as `apps/v1`."""
        return self["apiVersion"].text

    @property
    def group(self) -> str:
        """Such as `apps`; empty for the core group."""
        return self.api_version.rpartition("/")[0]

    @property
    def name(self) -> str:
        """Its name; empty where it has none."""
        return self["metadata"]["name"].text

    @property
    def namespace(self) -> str:
        """Its namespace; empty for an object of the whole cluster."""
        if self.kind in CLUSTER_SCOPED:
            return ""
        return self["metadata"]["namespace"].text or self.release_namespace

    @property
    def labels(self) -> dict[str, str]:
        """Its own labels."""
        return self["metadata"]["labels"].strings

    @property
    def annotations(self) -> dict[str, Field]:
        """Its annotations, each with its path."""
        return self["metadata"]["annotations"].entries

    @property
    def hooks(self) -> frozenset[str]:
        """The Helm hooks it is; none for a normal object."""
        hook = self["metadata"]["annotations"]["helm.sh/hook"].text
        return frozenset(part.strip() for part in hook.split(",") if part.strip())

    @property
    def id(self) -> str:
        """How a finding names it, as in `Deployment triton/triton`."""
        place = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind or 'object'} {place}{self.name or '(no name)'}"

    def fault(self, field: Field, wrong: str, right: str) -> Finding:
        """A finding about one of its fields."""
        return Finding(object=self.id, field=field.path, wrong=wrong, right=right)


@dataclass(frozen=True)
class Pod:
    """A pod, or the template of one.

    Attributes:
        owner: The object that holds it.
        template: The field with `metadata` and `spec`.
    """

    owner: Resource
    template: Field

    @property
    def spec(self) -> Field:
        """The pod's `spec`."""
        return self.template["spec"]

    @property
    def labels(self) -> dict[str, str]:
        """The pod's labels."""
        return self.template["metadata"]["labels"].strings

    @property
    def namespace(self) -> str:
        """The pod's namespace."""
        return self.owner.namespace

    @property
    def containers(self) -> tuple[Field, ...]:
        """Main containers."""
        return tuple(self.spec["containers"])

    @property
    def all_containers(self) -> tuple[Field, ...]:
        """Init containers and main containers."""
        return (*self.spec["initContainers"], *self.containers)

    @property
    def running(self) -> tuple[Field, ...]:
        """Containers that run side by side: main containers and sidecars."""
        sidecars = (one for one in self.spec["initContainers"] if is_sidecar(one))
        return (*sidecars, *self.containers)

    @property
    def ports(self) -> tuple[Field, ...]:
        """Every port that a running container declares."""
        return tuple(port for one in self.running for port in one["ports"])

    def limit(self, resource: str) -> Any:
        """The largest limit on a resource that any container has, as written; None for none."""
        found = (one["resources"]["limits"][resource].value for one in self.all_containers)
        return next((value for value in found if value is not None), None)

    def fault(self, field: Field, wrong: str, right: str) -> Finding:
        """A finding about one of the pod's fields."""
        return self.owner.fault(field, wrong, right)


def is_sidecar(container: Field) -> bool:
    """Whether an init container keeps running beside the main ones."""
    return container["restartPolicy"].text == "Always"


@dataclass(frozen=True)
class Objects:
    """All objects of a rendering, in its order."""

    all: tuple[Resource, ...]

    @classmethod
    def of(cls, bodies: Iterable[Any], namespace: str = "default") -> "Objects":
        """Wrap parsed objects; `namespace` is the release's."""
        return cls(tuple(Resource(body, namespace) for body in _flat(bodies)))

    def __iter__(self) -> Iterator[Resource]:
        return iter(self.all)

    def of_kind(self, *kinds: str) -> tuple[Resource, ...]:
        """The objects of some kinds."""
        return tuple(one for one in self.all if one.kind in kinds)

    def find(self, kind: str, namespace: str, name: str) -> Resource | None:
        """One object; None where there is none."""
        for one in self.of_kind(kind):
            if (one.namespace, one.name) == (namespace, name):
                return one
        return None

    @cached_property
    def pods(self) -> tuple[Pod, ...]:
        """Every pod and pod template."""
        found = ((one, _template(one)) for one in self.all)
        return tuple(Pod(one, template) for one, template in found if template is not None)


def _template(resource: Resource) -> Field | None:
    if resource.kind == "Pod":
        return Field(resource.body)
    if resource.kind == "CronJob":
        return resource["spec"]["jobTemplate"]["spec"]["template"]
    return resource["spec"]["template"] if resource.kind in TEMPLATED else None


def _flat(bodies: Iterable[Any]) -> Iterator[Mapping[str, Any]]:
    for body in bodies:
        if isinstance(body, Mapping) and str(body.get("kind", "")).endswith("List"):
            yield from _flat(body.get("items") or [])
        elif body:
            yield body if isinstance(body, Mapping) else {"kind": "", "value": body}
