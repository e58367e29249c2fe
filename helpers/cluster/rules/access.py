"""Service accounts, AWS roles for them, and RBAC."""

import re
from collections.abc import Iterator

from helpers.cluster.findings import Finding, meant
from helpers.cluster.objects import Resource
from helpers.cluster.rules.scope import Rule, Scope

ROLE_ANNOTATION = "eks.amazonaws.com/role-arn"
EKS_ANNOTATIONS = frozenset({
    ROLE_ANNOTATION, "eks.amazonaws.com/audience", "eks.amazonaws.com/sts-regional-endpoints",
    "eks.amazonaws.com/token-expiration", "eks.amazonaws.com/skip-containers",
})  # fmt: skip
_ROLE = re.compile(r"arn:aws(-cn|-us-gov)?:iam::\d{12}:role/[\w+=,.@/-]{1,512}")
VERBS = frozenset({
    "get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "use",
    "bind", "escalate", "impersonate", "approve", "sign",
})  # fmt: skip


def accounts(scope: Scope) -> Iterator[Finding]:
    """The service account of a pod exists in its namespace."""
    known = scope.around.service_accounts
    for pod in scope.objects.pods:
        field = pod.spec["serviceAccountName"]
        name = field.text or "default"
        found = scope.objects.find("ServiceAccount", pod.namespace, name)
        if name != "default" and not found and f"{pod.namespace}/{name}" not in known:
            there = {one.name for one in scope.objects.of_kind("ServiceAccount")
                     if one.namespace == pod.namespace}  # fmt: skip
            wrong = f"namespace {pod.namespace} has no service account '{name}'"
            yield pod.fault(field, wrong, meant(name, there | {"default"}))


def roles_of_aws(scope: Scope) -> Iterator[Finding]:
    """IRSA: the annotation is spelt as the webhook reads it, and holds a role's ARN."""
    known = set(scope.contract.service_accounts.model_dump().values())
    for one in scope.objects.of_kind("ServiceAccount"):
        for key, field in one.annotations.items():
            if key.startswith("eks.amazonaws.com/") and key not in EKS_ANNOTATIONS:
                yield one.fault(field, f"EKS knows no '{key}'", meant(key, EKS_ANNOTATIONS))
            elif key == ROLE_ANNOTATION and not _ROLE.fullmatch(field.text):
                right = "arn:aws:iam::<12 digits>:role/<name>"
                yield one.fault(field, f"'{field.value}' is no role", right)
            if key == ROLE_ANNOTATION and one.name not in known:
                wrong = f"no AWS role trusts an account called '{one.name}'"
                yield one.fault(one["metadata"]["name"], wrong, meant(one.name, known))


def bindings(scope: Scope) -> Iterator[Finding]:
    """A binding binds a role that exists to somebody who exists."""
    for one in scope.objects.of_kind("RoleBinding", "ClusterRoleBinding"):
        role = one["roleRef"]
        kinds = ("ClusterRole",) if one.kind == "ClusterRoleBinding" else ("Role", "ClusterRole")
        if role["kind"].text not in kinds:
            wrong = f"a {one.kind} cannot bind a '{role['kind'].value}'"
            yield one.fault(role["kind"], wrong, " or ".join(kinds))
        if role["apiGroup"].text != "rbac.authorization.k8s.io":
            wrong = f"roles are not of '{role['apiGroup'].value}'"
            yield one.fault(role["apiGroup"], wrong, "rbac.authorization.k8s.io")
        space = one.namespace if role["kind"].text == "Role" else ""
        if role["kind"].text == "Role" and not scope.objects.find("Role", space, role["name"].text):
            wrong = f"there is no Role '{role['name'].value}' in {space}"
            yield one.fault(role["name"], wrong, "a role of the same namespace")
        yield from _subjects(scope, one)


def _subjects(scope: Scope, one: Resource) -> Iterator[Finding]:
    for subject in one["subjects"]:
        kind = subject["kind"].text
        if kind not in ("ServiceAccount", "User", "Group"):
            known = ("ServiceAccount", "User", "Group")
            yield one.fault(subject["kind"], f"'{kind}' is nobody", meant(kind, known))
        if kind != "ServiceAccount":
            continue
        space = subject["namespace"].text
        if not space:
            yield one.fault(subject["namespace"], "the account has no namespace", one.namespace)
        name = subject["name"].text
        if not scope.objects.find("ServiceAccount", space, name) and name != "default":
            wrong = f"there is no service account {space}/{name}"
            yield one.fault(subject["name"], wrong, "an account that exists")


def rights(scope: Scope) -> Iterator[Finding]:
    """Rights are spelt out: known verbs, and no star."""
    for one in scope.objects.of_kind("Role", "ClusterRole"):
        for rule in one["rules"]:
            if not list(rule["verbs"]):
                yield one.fault(rule["verbs"], "there are no verbs", "at least one")
            for verb in rule["verbs"]:
                if verb.text not in VERBS:
                    yield one.fault(verb, f"the verb '{verb.value}' is none, or all of them",
                                    meant(verb.text, VERBS))  # fmt: skip
            if not rule["nonResourceURLs"].given:
                for key in ("apiGroups", "resources"):
                    if not list(rule[key]):
                        yield one.fault(rule[key], f"there are no {key}", "at least one")
                    for each in rule[key]:
                        if each.text == "*":
                            yield one.fault(each, "the rule is about everything", "what is needed")


RULES: tuple[Rule, ...] = (accounts, roles_of_aws, bindings, rights)
