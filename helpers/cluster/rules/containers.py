"""Containers: names, ports, environment, mounts and volumes."""

from collections.abc import Iterator

from helpers.cluster import quantities
from helpers.cluster.fields import Field
from helpers.cluster.findings import Finding, meant
from helpers.cluster.objects import Pod, is_sidecar
from helpers.cluster.rules import syntax
from helpers.cluster.rules.scope import Rule, Scope

PROTOCOLS = ("TCP", "UDP", "SCTP")
FIELD_PATHS = frozenset({
    "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName",
    "spec.serviceAccountName", "status.hostIP", "status.hostIPs", "status.podIP", "status.podIPs",
    "metadata.labels", "metadata.annotations",
})  # fmt: skip
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
IDENTITIES = range(2**31)  # apimachinery's IsValidUserID and IsValidGroupID
SHORTEST_TOKEN_S = 600  # pkg/apis/core/validation: expirationSeconds of a projected token


def repeated(fields: list[Field], key: str = "name") -> Iterator[Field]:
    """The fields whose `key` an earlier one has."""
    seen = set()
    for one in fields:
        value = one[key].scalar
        if value in seen and value is not None:
            yield one[key]
        seen.add(value)


def names(scope: Scope) -> Iterator[Finding]:
    """At least one container; each has a DNS label as its name, and no two the same."""
    for pod in scope.objects.pods:
        if not pod.containers:
            yield pod.fault(pod.spec["containers"], "there is no container", "at least one")
        for one in pod.all_containers:
            if not syntax.is_label_1123(one["name"].text):
                wrong = f"'{one['name'].value}' is no container's name"
                yield pod.fault(one["name"], wrong, syntax.LABEL_RULE)
        for field in repeated(list(pod.all_containers)):
            yield pod.fault(field, f"two containers are called '{field.value}'", "other names")


def ports(scope: Scope) -> Iterator[Finding]:
    """Ports exist, are named legally, and no two of a pod are the same."""
    for pod in scope.objects.pods:
        taken: dict[tuple[object, str], str] = {}
        for port in pod.ports:
            yield from _port(pod, port)
            key = (port["containerPort"].scalar, port["protocol"].text or "TCP")
            if key in taken:
                wrong = f"port {key[0]}/{key[1]} is taken by {taken[key]}"
                yield pod.fault(port["containerPort"], wrong, "a port of its own")
            taken[key] = port.path
        for field in repeated(list(pod.ports)):
            yield pod.fault(field, f"two ports are called '{field.value}'", "names of their own")


def _port(pod: Pod, port: Field) -> Iterator[Finding]:
    for key in ("containerPort", "hostPort"):
        if (key == "containerPort" or port[key].given) and not syntax.is_port(port[key].integer):
            yield pod.fault(port[key], f"{port[key].value} is no port", "a number from 1 to 65535")
    if port["name"].given and not syntax.is_port_name(port["name"].text):
        wrong = f"'{port['name'].value}' is no port's name"
        yield pod.fault(port["name"], wrong, syntax.PORT_NAME_RULE)
    if (protocol := port["protocol"]).given and protocol.text not in PROTOCOLS:
        wrong = f"there is no protocol '{protocol.value}'"
        yield pod.fault(protocol, wrong, meant(protocol.text, PROTOCOLS))
    shared = pod.spec["hostNetwork"].value is True
    if shared and port["hostPort"].given and port["hostPort"].value != port["containerPort"].value:
        wrong = "a pod on the host's network has its container's port there"
        yield pod.fault(port["hostPort"], wrong, f"{port['containerPort'].value}, or none")


def environment(scope: Scope) -> Iterator[Finding]:
    """Variables: legal names, none twice, one source each."""
    for pod in scope.objects.pods:
        for container in pod.all_containers:
            variables = list(container["env"])
            for one in variables:
                yield from _variable(pod, one)
            for field in repeated(variables):
                wrong = f"the variable {field.value} is set twice; the last one wins silently"
                yield pod.fault(field, wrong, "one of them")


def _variable(pod: Pod, one: Field) -> Iterator[Finding]:
    if not syntax.ENV_NAME.fullmatch(one["name"].text):
        right = "letters, digits, '_', '-' and '.', not beginning with a digit"
        yield pod.fault(one["name"], f"'{one['name'].value}' is no variable's name", right)
    sources = one["valueFrom"].entries
    if one["value"].text and sources:
        yield pod.fault(one["valueFrom"], "the variable has value and valueFrom", "one of them")
    if one["valueFrom"].given and len(sources) != 1:
        yield pod.fault(one["valueFrom"], f"{len(sources)} sources are given", "one source")
    path = one["valueFrom"]["fieldRef"]["fieldPath"]
    if path.given and path.text.partition("[")[0] not in FIELD_PATHS:
        yield pod.fault(path, f"a pod has no field '{path.text}'", meant(path.text, FIELD_PATHS))


def mounts(scope: Scope) -> Iterator[Finding]:
    """Mounts: a volume that exists, and a path of their own."""
    for pod in scope.objects.pods:
        claims = (one["metadata"]["name"].text for one in pod.owner["spec"]["volumeClaimTemplates"])
        known = {one["name"].text for one in pod.spec["volumes"]} | set(claims)
        for container in pod.all_containers:
            mounted = list(container["volumeMounts"])
            for one in mounted:
                yield from _mount(pod, one, known)
            for field in repeated(mounted, "mountPath"):
                yield pod.fault(field, f"two volumes are mounted at {field.value}", "other paths")


def _mount(pod: Pod, one: Field, known: set[str]) -> Iterator[Finding]:
    if one["name"].text not in known:
        right = meant(one["name"].text, known) if known else "a volume of the pod"
        yield pod.fault(one["name"], f"the pod has no volume '{one['name'].value}'", right)
    path = one["mountPath"].text
    if not path.startswith("/") or ":" in path:
        wrong = f"'{one['mountPath'].value}' cannot be mounted at"
        yield pod.fault(one["mountPath"], wrong, "an absolute path without ':'")
    inner = one["subPath"].text
    if inner.startswith("/") or ".." in inner.split("/"):
        yield pod.fault(one["subPath"], f"'{inner}' leads out of the volume", "a path inside it")
    if inner and one["subPathExpr"].text:
        yield pod.fault(one["subPathExpr"], "subPath is given too", "one of them")


def volumes(scope: Scope) -> Iterator[Finding]:
    """Volumes: a legal name of their own, one source, and a container that mounts them."""
    for pod in scope.objects.pods:
        found = list(pod.spec["volumes"])
        used = {one["name"].text for c in pod.all_containers for one in c["volumeMounts"]}
        used |= {one["name"].text for c in pod.all_containers for one in c["volumeDevices"]}
        for one in found:
            yield from _volume(pod, one)
            if one["name"].text not in used:
                wrong = f"no container mounts the volume '{one['name'].value}'"
                yield pod.fault(one["name"], wrong, "a volumeMount of that name, or no volume")
        for field in repeated(found):
            yield pod.fault(field, f"two volumes are called '{field.value}'", "other names")


def _volume(pod: Pod, one: Field) -> Iterator[Finding]:
    if not syntax.is_label_1123(one["name"].text):
        wrong = f"'{one['name'].value}' is no volume's name"
        yield pod.fault(one["name"], wrong, syntax.LABEL_RULE)
    sources = [key for key in one.entries if key != "name"]
    if len(sources) != 1:
        yield pod.fault(one, f"the volume has {len(sources)} sources", "one source")
    for field in one.walk():
        last = field.path.rpartition(".")[2]
        if last in ("defaultMode", "mode") and not 0 <= (field.integer or 0) <= 0o777:
            yield pod.fault(field, f"{field.value} is no file mode", "0 to 0777 (octal), 0 to 511")
        if last == "expirationSeconds" and (field.integer or 0) < SHORTEST_TOKEN_S:
            yield pod.fault(field, f"a token of {field.value} s is too short", "at least 600")
    yield from _empty_dir(pod, one["emptyDir"])


def _empty_dir(pod: Pod, one: Field) -> Iterator[Finding]:
    medium, limit = one["medium"].text, one["sizeLimit"]
    if medium not in ("", "Memory") and not medium.startswith("HugePages"):
        yield pod.fault(one["medium"], f"there is no medium '{medium}'", "Memory, or none")
    size = quantities.parse(limit.value)
    if limit.given and (size is None or size < 0):
        yield pod.fault(limit, f"'{limit.value}' is no quantity", "a size such as 1Gi")
    if one.given and not limit.given:
        yield pod.fault(limit, "the volume may fill the node", "a size such as 1Gi")
    memory = [quantities.parse(c["resources"]["limits"]["memory"].value) for c in pod.running]
    if medium == "Memory" and size and all(memory) and size >= sum(m for m in memory if m):
        wrong = f"the volume may take {limit.value} of memory, as much as the pod has"
        yield pod.fault(limit, wrong, "less than the containers' memory limit: it counts there")


def default_containers(scope: Scope) -> Iterator[Finding]:
    """The container that kubectl shows first exists."""
    for pod in scope.objects.pods:
        field = pod.template["metadata"]["annotations"][DEFAULT_CONTAINER]
        names = {one["name"].text for one in pod.all_containers}
        if field.given and field.text not in names:
            wrong = f"the pod has no container '{field.value}'"
            yield pod.fault(field, wrong, meant(field.text, names))


def init_containers(scope: Scope) -> Iterator[Finding]:
    """Init containers end; only a sidecar has probes, and its restart policy is Always."""
    for pod in scope.objects.pods:
        for one in pod.spec["initContainers"]:
            for key in ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle"):
                if one[key].given and not is_sidecar(one):
                    wrong = "an init container that is no sidecar cannot have it"
                    yield pod.fault(one[key], wrong, "restartPolicy: Always, or none")


def identities(scope: Scope) -> Iterator[Finding]:
    """Numbers of users and groups that Linux has."""
    for pod in scope.objects.pods:
        for context in (pod.spec, *pod.all_containers):
            own = context["securityContext"]
            for field in (own["runAsUser"], own["runAsGroup"], own["fsGroup"],
                          *own["supplementalGroups"]):  # fmt: skip
                if field.given and field.integer not in IDENTITIES:
                    yield pod.fault(field, f"{field.value} is no user or group", "0 to 2147483647")


RULES: tuple[Rule, ...] = (
    names,
    identities,
    ports,
    environment,
    mounts,
    volumes,
    default_containers,
    init_containers,
)
