"""Pods as Pod Security's level `restricted` wants them, with a root that is read only.

Source: https://kubernetes.io/docs/concepts/security/pod-security-standards/
"""

from collections.abc import Iterator

from helpers.cluster.fields import Field
from helpers.cluster.findings import Finding, meant
from helpers.cluster.objects import Pod
from helpers.cluster.rules.access import ROLE_ANNOTATION
from helpers.cluster.rules.scope import Rule, Scope

HOST = ("hostNetwork", "hostPID", "hostIPC")
SECCOMP = ("RuntimeDefault", "Localhost")
VOLUMES = frozenset({
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim",
    "projected", "secret",
})  # fmt: skip


def _effective(pod: Pod, container: Field, key: str) -> Field:
    """A setting of the container, or of the pod where the container has none."""
    own = container["securityContext"][key]
    return own if own.given else pod.spec["securityContext"][key]


def host(scope: Scope) -> Iterator[Finding]:
    """Nothing of the node is shared: no namespaces, no paths, no ports."""
    for pod in scope.objects.pods:
        for key in HOST:
            if pod.spec[key].value is True:
                yield pod.fault(pod.spec[key], f"the pod shares its node's {key[4:]}", "false")
        for one in pod.spec["volumes"]:
            for key in one.entries.keys() - {"name"} - VOLUMES:
                wrong = f"a volume of type {key} reaches outside the pod"
                yield pod.fault(one[key], wrong, "emptyDir, configMap, secret or a claim")
        for port in pod.ports:
            if port["hostPort"].given:
                yield pod.fault(port["hostPort"], "the pod takes a port of its node", "no hostPort")


def users(scope: Scope) -> Iterator[Finding]:
    """No container runs as root."""
    for pod in scope.objects.pods:
        for one in pod.all_containers:
            must = _effective(pod, one, "runAsNonRoot")
            if must.value is not True:
                field = one["securityContext"]["runAsNonRoot"]
                yield pod.fault(field, "the container may run as root", "true")
            elif not _effective(pod, one, "runAsUser").given:
                field = one["securityContext"]["runAsUser"]
                wrong = "the kubelet cannot tell that the image's user is not root, and refuses"
                yield pod.fault(field, wrong, "the number of a user above 0")
        contexts = [
            pod.spec["securityContext"],
            *(c["securityContext"] for c in pod.all_containers),
        ]
        for context in contexts:
            user = context["runAsUser"]
            if user.given and (user.integer or 0) < 1:
                yield pod.fault(user, f"user {user.value} is root", "a number above 0")


def containers(scope: Scope) -> Iterator[Finding]:
    """Read-only root, no privileges, none to be gained, no capabilities."""
    for pod in scope.objects.pods:
        for one in pod.all_containers:
            context = one["securityContext"]
            for key, right in (("privileged", False), ("allowPrivilegeEscalation", False),
                               ("readOnlyRootFilesystem", True)):  # fmt: skip
                given = context[key].value
                if given is not right and not (key == "privileged" and given is None):
                    wrong = f"it is {str(given).lower() if given is not None else 'not set'}"
                    yield pod.fault(context[key], wrong, str(right).lower())
            capabilities = context["capabilities"]
            if "ALL" not in {dropped.text for dropped in capabilities["drop"]}:
                yield pod.fault(capabilities["drop"], "capabilities are kept", "[ALL]")
            for added in capabilities["add"]:
                yield pod.fault(added, f"the capability {added.value} is added", "none")
            if context["procMount"].text not in ("", "Default"):
                yield pod.fault(context["procMount"], "/proc is unmasked", "Default")


def seccomp(scope: Scope) -> Iterator[Finding]:
    """System calls are filtered by the runtime's profile."""
    for pod in scope.objects.pods:
        for one in pod.all_containers:
            profile = _effective(pod, one, "seccompProfile")["type"]
            if profile.text not in SECCOMP:
                wrong = f"the profile is '{profile.text}'" if profile.given else "no profile is set"
                yield pod.fault(profile, wrong, meant(profile.text, SECCOMP))


def tokens(scope: Scope) -> Iterator[Finding]:
    """A token of the cluster's API is mounted only where the pod's account has rights there.

    IRSA brings a token of its own, so it needs none of these.
    """
    bound = {
        (subject["namespace"].text or one.namespace, subject["name"].text)
        for one in scope.objects.of_kind("RoleBinding", "ClusterRoleBinding")
        for subject in one["subjects"]
    }
    for pod in scope.objects.pods:
        name = pod.spec["serviceAccountName"].text or "default"
        account = scope.objects.find("ServiceAccount", pod.namespace, name)
        field = pod.spec["automountServiceAccountToken"]
        mounted = field.value
        if mounted is None and account is not None:
            mounted = account["automountServiceAccountToken"].value
        has_role = account is not None and ROLE_ANNOTATION in account.annotations
        if mounted is not False and (pod.namespace, name) not in bound and not has_role:
            wrong = "the pod gets a token of the cluster's API that it has no use for"
            yield pod.fault(field, wrong, "false")


RULES: tuple[Rule, ...] = (host, users, containers, seccomp, tokens)
