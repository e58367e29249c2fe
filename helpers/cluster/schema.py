"""Objects against the API's schemas: fields that exist, of the right type, none missing.

The schemas are those that `kubernetes-validate` brings, in their strict form: an unknown field is
an error, as it is for `kubectl apply --validate=strict`.
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import jsonschema
import kubernetes_validate
from kubernetes_validate import utils
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from helpers.cluster import objects
from helpers.cluster.fields import Field
from helpers.cluster.findings import Finding, meant
from helpers.cluster.objects import Objects
from helpers.cluster.rules.custom import is_custom

META = "https://kubernetes.io/api/_definitions.json#/$defs/io.k8s.apimachinery.pkg.apis.meta.v1."
_FOLDER = "kubernetes-json-schema/v{version}-local-strict/{name}.json"
FORMATS = jsonschema.FormatChecker(formats=())


@FORMATS.checks("int32")  # type: ignore[untyped-decorator]
def _is_int32(value: object) -> bool:
    """The API server wraps a larger number around, and then refuses or, worse, takes it."""
    return not isinstance(value, int) or -(2**31) <= value < 2**31


def faults(found: Objects, kubernetes: str) -> Iterator[Finding]:
    """What the schemas refuse.

    Args:
        found: The objects; of custom resources only metadata and selector are looked at.
        kubernetes: Version of the control plane, such as `1.35`.
    """
    for one in found:
        if not one.kind:
            continue
        if is_custom(one):
            yield from _custom(one, _newest(kubernetes))
            continue
        validator = _validator(one.kind, one.api_version, _newest(kubernetes))
        if validator is None:
            yield _unknown(one, kubernetes)
        else:
            yield from _judged(one, Field(one.body), validator)


def _custom(one: objects.Resource, version: str) -> Iterator[Finding]:
    """The parts of a custom resource whose types are the API's own."""
    yield from _judged(one, one["metadata"], _part("ObjectMeta", version))
    if one.kind in ("ServiceMonitor", "PodMonitor"):
        yield from _judged(one, one["spec"]["selector"], _part("LabelSelector", version))


def _judged(one: objects.Resource, field: Field, validator: Any) -> Iterator[Finding]:
    if field.given:
        for error in validator.iter_errors(field.value):
            yield _finding(one, field, _deepest(error))


def unchecked(found: Objects) -> tuple[str, ...]:
    """Kinds that no schema is at hand for: custom resources."""
    return tuple(sorted({one.kind for one in found if is_custom(one)}))


@lru_cache
def _newest(kubernetes: str) -> str:
    """The newest schemas that are not newer than the control plane."""
    wanted = tuple(map(int, kubernetes.split(".")[:2]))
    fitting = [
        version
        for version in utils.all_versions()
        if tuple(map(int, version.split(".")[:2])) <= wanted
    ]
    return str((fitting or utils.all_versions())[-1])


def _name(kind: str, api_version: str) -> str:
    """File name of a schema, as in `deployment-apps-v1`."""
    group, _, version = api_version.rpartition("/")
    short = group.partition(".")[0]
    return f"{kind.lower()}-{short}-{version}" if short else f"{kind.lower()}-{version}"


@lru_cache(maxsize=128)
def _validator(kind: str, api_version: str, version: str) -> Any:
    try:
        path = _FOLDER.format(version=version, name=_name(kind, api_version))
        schema = utils.schema_contents(path, version)
    except (FileNotFoundError, kubernetes_validate.utils.VersionNotSupportedError):
        return None
    return _of_schema(schema, version)


@lru_cache
def _part(name: str, version: str) -> Any:
    """The validator of a type that custom resources share with the API's own kinds."""
    return _of_schema({"$ref": META + name}, version)


def _of_schema(schema: Any, version: str) -> Any:
    return jsonschema.Draft202012Validator(
        schema, registry=_definitions(version), format_checker=FORMATS
    )


@lru_cache(maxsize=2)
def _definitions(version: str) -> Any:
    contents = utils.schema_contents(_FOLDER.format(version=version, name="_definitions"), version)
    resource = Resource.from_contents(contents, default_specification=DRAFT202012)
    return resource @ Registry()


def _unknown(one: objects.Resource, kubernetes: str) -> Finding:
    """Kind and version that Kubernetes does not have; the right one, where the kind exists."""
    there = [
        candidate
        for candidate in CANDIDATES
        if _validator(one.kind, candidate, _newest(kubernetes)) is not None
    ]
    wrong = f"Kubernetes {kubernetes} has no {one.kind} in '{one.api_version}'"
    if there:
        return one.fault(one["apiVersion"], wrong, there[0])
    return one.fault(one["kind"], wrong, meant(one.kind, KINDS))


CANDIDATES = (
    "v1", "apps/v1", "batch/v1", "autoscaling/v2", "policy/v1", "networking.k8s.io/v1",
    "rbac.authorization.k8s.io/v1", "scheduling.k8s.io/v1", "storage.k8s.io/v1",
    "apiextensions.k8s.io/v1", "admissionregistration.k8s.io/v1", "node.k8s.io/v1",
    "coordination.k8s.io/v1", "discovery.k8s.io/v1",
)  # fmt: skip
KINDS = ("ConfigMap", "CronJob", "DaemonSet", "Deployment", "HorizontalPodAutoscaler", "Ingress",
         "Job", "Namespace", "NetworkPolicy", "Pod", "PodDisruptionBudget", "PriorityClass", "Role",
         "RoleBinding", "Secret", "Service", "ServiceAccount", "StatefulSet")  # fmt: skip


def _deepest(error: Any) -> Any:
    """Of alternatives that all failed, the failure that says most."""
    while error.context:
        error = max(error.context, key=lambda inner: len(inner.absolute_path))
    return error


def _finding(one: objects.Resource, field: Field, error: Any) -> Finding:
    for step in error.absolute_path:
        field = field[step]
    match error.validator:
        case "additionalProperties":
            known = error.schema.get("properties", {})
            name = next(key for key in error.instance if key not in known)
            return one.fault(field[str(name)], f"there is no field '{name}'", _short(name, known))
        case "required":
            match = re.match(r"'([^']+)'", error.message)
            missing = match[1] if match else ""
            return one.fault(field[missing], f"'{missing}' is missing", f"a value of {missing}")
        case "type":
            wanted = error.validator_value
            right = " or ".join(wanted) if isinstance(wanted, list) else str(wanted)
            return one.fault(field, f"{error.instance!r:.60} has the wrong type", right)
    return one.fault(field, f"{error.message:.160}", f"{error.validator} {error.validator_value}")


def _short(name: str, known: Any) -> str:
    near = meant(str(name), known)
    return near if len(near) < 100 else "a field of the API, or none"
