"""Triton's chart before it is installed: lint, render, schema, our invariants, API server.

What helm or an API server said is RAN; what only read the rendered objects is CHECKED. Where an API
server answers (AWS; a rehearsal with `cluster.context`) it judges every object as a dry run.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import jmespath
import yaml
from packaging.version import Version

from helpers.cloud.account import Account
from helpers.cloud.stack import Stack
from helpers.cluster import client, contract, releases
from helpers.cluster.client import Cluster
from helpers.cluster.contract import CONTRACT, Contract, Label
from helpers.cluster.helm import Helm, server_dry_run, value_flags
from helpers.cluster.records import ChartChecks, ChartFault, CheckLine
from helpers.errors import Problem, Unavailable
from helpers.paths import ROOT
from helpers.promises import CHECKED, NOT_RUN, RAN, Status
from helpers.run import Run

CHART = ROOT / "k8s" / "charts" / "triton"
RENDERED = "cluster/rendered/triton.yaml"
SPOT_NOTICE_S = 120
OF_OBJECTS = ("schema", "rules")
WORKLOADS = ("Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod")
NO_SERVER = "no API server was asked: the profile names no cluster.context"
PROBE_PATHS = {"startupProbe": "/v2/health/live", "livenessProbe": "/v2/health/live",
               "readinessProbe": "/v2/health/ready"}  # fmt: skip

Body = Mapping[str, Any]


def check(run: Run, account: Account, image: str) -> ChartChecks:
    """Check Triton's chart with the values that this run would install it with.

    Without a stack or an image (`repository@sha256:…`), the chart's example values are checked.
    """
    agreed, kubernetes = contract.load(), run.profile.infrastructure.kubernetes_version
    try:
        judge = client.connect(run, account)
    except Unavailable:
        judge = None
    values = [CHART / "ci/gpu-values.yaml"]
    if image and run.find(Stack):
        facts = releases.values_facts(run, account, image)
        values = releases.write_values(run, releases.Lock.load().named("triton"), facts)[1:]
    lines, version, absent = list[CheckLine](), "", ""
    try:
        version = Helm()("Helm's version", "version", "--short").strip()
        for name, files in (("gpu", values), ("cpu", [CHART / "values-cpu.yaml"])):
            made, objects = _rendered([CONTRACT, *files], agreed, kubernetes, name)
            lines += made
            if not objects:
                lines += _unchecked("helm did not render the chart", name, *OF_OBJECTS, "dry run")
                continue
            lines += check_objects(objects, agreed, kubernetes, name)
            lines.append(_judged(objects, judge, name))
            if name == "gpu":
                run.write(RENDERED, yaml.safe_dump_all(objects, sort_keys=False))
    except Unavailable as reason:
        absent = str(reason)
    return run.save(ChartChecks(
        chart=str(CHART.relative_to(ROOT)), kubernetes=kubernetes, helm=version,
        lines=tuple(lines), absent=absent,
    ))  # fmt: skip


def _line(
    check: str, values: str, label: Status, seen: str, faults: Sequence[ChartFault] = ()
) -> CheckLine:
    return CheckLine(check=check, values=values, label=label, seen=seen, findings=tuple(faults))


def _unchecked(why: str, values: str, *checks: str) -> list[CheckLine]:
    return [_line(check, values, NOT_RUN, why) for check in checks]


def check_objects(
    objects: Sequence[Body], agreed: Contract, kubernetes: str, values: str
) -> list[CheckLine]:
    """Schema and invariants of rendered objects of our own charts, a line each."""
    schema, custom = schema_findings(objects, kubernetes)
    beside = f"; no schema for {', '.join(custom)}" if custom else ""
    lines = [_line("schema", values, CHECKED, f"Kubernetes {kubernetes}, strict{beside}", schema)]
    if schema:  # the rest relies on well-formed objects
        return lines + _unchecked("the schema refuses an object", values, "rules")
    seen = f"invariants of our charts over {len(objects)} objects"
    return [*lines, _line("rules", values, CHECKED, seen, [*invariants(objects, agreed)])]


def schema_findings(
    objects: Sequence[Body], kubernetes: str
) -> tuple[tuple[ChartFault, ...], tuple[str, ...]]:
    """What the API's schemas refuse, and the kinds that they do not describe (custom resources)."""
    import kubernetes_validate  # seconds to import

    findings, custom, schemas = [], set(), kubernetes_validate.utils.all_versions()
    # the newest that is not newer than the control plane
    version = sorted((schemas[0], kubernetes, schemas[-1]), key=Version)[1]
    for body in objects:
        try:
            kubernetes_validate.validate(body, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            field = ".".join(map(str, error.path))
            findings.append(_fault(body, field, str(error.message)[:200], "as the schema says"))
        except (kubernetes_validate.SchemaNotFoundError, kubernetes_validate.InvalidSchemaError):
            group = body.get("apiVersion", "").rpartition("/")[0]
            if "." in group and not group.endswith(".k8s.io"):
                custom.add(body["kind"])
                continue
            wrong = f"Kubernetes has no {body.get('kind')} in '{body.get('apiVersion')}'"
            findings.append(_fault(body, "kind", wrong, "a kind of the API"))
    return tuple(findings), tuple(sorted(custom))


def _rendered(
    values: Sequence[Path], agreed: Contract, kubernetes: str, name: str
) -> tuple[list[CheckLine], list[Body]]:
    """Lint and render the chart; no objects if helm refuses it."""
    helm, namespace = Helm(), agreed.namespaces.triton
    lint, render, objects = list[ChartFault](), list[ChartFault](), list[Body]()
    with _refusal(lint):
        helm("The lint of the chart", "lint", "--strict", str(CHART), *value_flags(values),
             "--namespace", namespace, "--kube-version", kubernetes)  # fmt: skip
    with _refusal(render):
        text = helm.template("triton", CHART, namespace, values, kubernetes)
        objects = [each for each in yaml.safe_load_all(text) if each]
    seen = f"{len(objects)} objects" if objects else "nothing was rendered"
    return [_line("lint", name, RAN, "helm lint --strict", lint),
            _line("render", name, RAN, seen, render)], objects  # fmt: skip


@contextmanager
def _refusal(faults: list[ChartFault]) -> Iterator[None]:
    try:
        yield
    except Unavailable:
        raise
    except (Problem, yaml.YAMLError) as error:
        what = error.what if isinstance(error, Problem) else f"invalid YAML: {error}"
        right = "a chart that helm accepts"
        faults.append(ChartFault(object="chart", field="", wrong=what, right=right))


def _judged(objects: Sequence[Body], cluster: Cluster | None, values: str) -> CheckLine:
    """What the API server says of every object, and which one it is."""
    try:
        if cluster is None:
            raise Unavailable(NO_SERVER)
        judge, refusals = server_dry_run(cluster, objects)
    except Unavailable as reason:
        return _line("dry run", values, NOT_RUN, str(reason))
    right = "an object that it accepts"
    faults = [ChartFault(object="chart", field="", wrong=each, right=right) for each in refusals]
    return _line("dry run", values, RAN, judge, faults)


def invariants(objects: Sequence[Body], agreed: Contract) -> Iterator[ChartFault]:
    """Faults of objects that the schema accepts, and that our charts must not have."""
    for owner in objects:
        if owner["kind"] in WORKLOADS:
            spec = pod_template(owner)["spec"]
            yield from _pod(owner, spec, agreed)
            for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
                for field, wrong, right in _container(spec, container, agreed):
                    yield _fault(owner, f"{container['name']}.{field}", wrong, right)
                if "tritonserver" in str(container.get("command")):
                    yield from _server(owner, spec, container, agreed)
        if owner["kind"] in ("Deployment", "StatefulSet", "DaemonSet"):
            labels = pod_template(owner)["metadata"].get("labels") or {}
            if not owner["spec"]["selector"].get("matchLabels", {}).items() <= labels.items():
                yield _fault(owner, "spec.selector", "its own pods do not match", str(labels))
        if owner["kind"] == "Deployment":
            yield from _rollout(owner, agreed)
        yield from _references(owner, objects)


def _fault(body: Body, field: str, wrong: str, right: str) -> ChartFault:
    return ChartFault(object=object_name(body), field=field, wrong=wrong, right=right)


def _container(spec: Body, container: Body, agreed: Contract) -> Iterator[tuple[str, str, str]]:
    """What is wrong with a container: field, what is wrong, and what would be right."""
    image, resources = container.get("image"), container.get("resources") or {}
    if "@sha256:" not in (image or ""):
        yield "image", f"'{image}' can be moved to another image", "repository@sha256:…"
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    gpus = [str(amounts.get(agreed.gpu.resource, "")) for amounts in (requests, limits)]
    whole = str(agreed.gpu.per_pod)
    if any(gpus) and gpus != [whole, whole]:
        asked = f"requested as '{gpus[0]}' and limited to '{gpus[1]}'"
        yield "resources", f"{agreed.gpu.resource} is {asked}", f"{whole} for both"
    for probe in PROBE_PATHS:
        opened = jmespath.search(f"{probe}.httpGet.port", container)
        if opened and opened not in _ports([spec]):
            yield f"{probe}.httpGet.port", f"nothing opens {opened}", "a port of the container"
    pod, own = spec.get("securityContext") or {}, container.get("securityContext") or {}
    if not (pod.get("runAsNonRoot") and pod.get("seccompProfile")
            and own.get("allowPrivilegeEscalation") is False
            and (own.get("capabilities") or {}).get("drop") == ["ALL"]):  # fmt: skip
        wrong = "the namespace's pod security level 'restricted' refuses it"
        yield "securityContext", wrong, "as the other containers have it"


def _server(owner: Body, spec: Body, container: Body, agreed: Contract) -> Iterator[ChartFault]:
    """Triton's own container: probes, ports, models and the time that it gets to end."""
    flags = dict(str(each).partition("=")[::2] for each in container.get("args") or [])
    for probe, path in PROBE_PATHS.items():
        if jmespath.search(f"{probe}.httpGet.path", container) != path:
            yield _fault(owner, f"{probe}.httpGet.path", f"it is not {path}", path)
    for name, port in agreed.ports.model_dump().items():
        if flags.get(f"--{name}-port") != str(port) or port not in _ports([spec]):
            yield _fault(owner, "args", f"command line and container do not both open the "
                         f"contract's {name} port", str(port))  # fmt: skip
    if flags.get("--model-control-mode") != "explicit" or "--load-model" not in flags:
        yield _fault(owner, "args", "the models to load are not named",
                     "--model-control-mode=explicit and --load-model")  # fmt: skip
    pause = jmespath.search("lifecycle.preStop.sleep.seconds", container) or 0
    needed = pause + int(flags.get("--exit-timeout-secs", 30))
    grace = spec.get("terminationGracePeriodSeconds", 30)
    if not needed < grace < SPOT_NOTICE_S:
        yield _fault(owner, "terminationGracePeriodSeconds", f"{grace} s, and the shutdown takes "
                     f"{needed} s", f"more than that, less than {SPOT_NOTICE_S} s")  # fmt: skip


def _pod(owner: Body, spec: Body, agreed: Contract) -> Iterator[ChartFault]:
    """A pod with a GPU goes to the contract's nodes; any other pod must not be able to."""
    label, taint = agreed.gpu.label, agreed.gpu.taint
    tolerations = spec.get("tolerations") or []
    asks = (spec.get("nodeSelector") or {}).get(label.key) == label.value
    if _gpus(spec, agreed):
        if tolerations != [taint.toleration]:
            yield _fault(owner, "tolerations", f"{tolerations} is not what the contract asks for",
                         str([taint.toleration]))  # fmt: skip
        if not asks:
            yield _fault(owner, "nodeSelector", "it does not ask for a GPU node", str(label))
        return
    # a GPU node that has lost its taint: the load's pods must stay off it all the same
    loads = owner["metadata"].get("namespace") == agreed.namespaces.load
    for field, wrong in (
        ("tolerations", any(tolerates(each, taint.object) for each in tolerations)),
        ("nodeSelector", asks),
        ("affinity", loads and not keeps_off(spec, label)),
    ):
        if wrong:
            yield _fault(owner, field, "a pod without a GPU may go to a GPU node", "CPU nodes only")


def _rollout(owner: Body, agreed: Contract) -> Iterator[ChartFault]:
    """A surge pod would wait for the GPU of the pod that it replaces."""
    update = (owner["spec"].get("strategy") or {}).get("rollingUpdate") or {}
    surge = update.get("maxSurge", "25%")
    if _gpus(pod_template(owner)["spec"], agreed) and surge:
        yield _fault(owner, "spec.strategy.rollingUpdate.maxSurge", f"a surge of {surge} waits for "
                     "a GPU", "maxSurge 0 and maxUnavailable 1")  # fmt: skip


def _references(body: Body, objects: Sequence[Body]) -> Iterator[ChartFault]:
    """What an object names or selects is there."""
    named = {kind: {each["metadata"]["name"]: each for each in objects if each["kind"] == kind}
             for kind in ("ServiceAccount", "PriorityClass", "Service", "Deployment")}  # fmt: skip
    spec = body.get("spec") or {}
    if body["kind"] in WORKLOADS:
        pod = pod_template(body)["spec"]
        for field, kind in (("serviceAccountName", "ServiceAccount"),
                            ("priorityClassName", "PriorityClass")):  # fmt: skip
            if pod.get(field, "default") not in {*named[kind], "default"}:
                yield _fault(body, field, f"there is no {pod[field]}", str([*named[kind]]))
    match body["kind"]:
        case "Service":
            targets = {port.get("targetPort", port["port"]) for port in spec["ports"]}
            yield from _selection(body, spec["selector"], targets, objects)
        case "PodDisruptionBudget":
            yield from _selection(body, spec["selector"]["matchLabels"], set(), objects)
            if spec.get("maxUnavailable") in (None, 0, "0%"):
                yield _fault(body, "spec", "its node cannot be drained", "maxUnavailable: 1")
        case "NetworkPolicy":
            labels = spec["podSelector"].get("matchLabels") or {}
            opened = set(jmespath.search("ingress[].ports[].port", spec) or [])
            yield from _selection(body, labels, opened, objects)
        case "Ingress":
            for service in jmespath.search("rules[].http.paths[].backend.service", spec):
                known = jmespath.search("spec.ports[].name", named["Service"].get(service["name"]))
                if service["port"]["name"] not in (known or []):
                    yield _fault(body, "spec.rules", f"there is no {service}", "our Service")
        case "ServiceMonitor":
            wanted = spec["selector"]["matchLabels"].items()
            ports = {port["name"] for each in named["Service"].values()
                     if wanted <= (each["metadata"].get("labels") or {}).items()
                     for port in each["spec"]["ports"]}  # fmt: skip
            if not {endpoint["port"] for endpoint in spec["endpoints"]} <= ports:
                yield _fault(body, "spec", "no Service has these labels and ports", "our Service's")
        case "HorizontalPodAutoscaler":
            owner = named["Deployment"].get(spec["scaleTargetRef"]["name"])
            if owner is None:
                yield _fault(body, "spec.scaleTargetRef", "there is no such Deployment", "ours")
            elif "replicas" in owner["spec"]:
                yield _fault(owner, "spec.replicas", "an upgrade would undo the autoscaler", "none")


def _selection(
    body: Body, labels: Body, ports: set[str | int], objects: Sequence[Body]
) -> Iterator[ChartFault]:
    templates = [pod_template(each) for each in objects if each["kind"] in WORKLOADS]
    pods = [each["spec"] for each in templates
            if labels.items() <= (each["metadata"].get("labels") or {}).items()]  # fmt: skip
    if not pods:
        yield _fault(body, "spec.selector", f"no pod has the labels {labels}", "labels of our pods")
    elif missing := ports - _ports(pods):
        yield _fault(body, "spec.ports", f"no pod opens {missing}", "a port of our pods")


def _gpus(spec: Body, agreed: Contract) -> int:
    limits = jmespath.search("containers[].resources.limits", spec)
    return int(sum(quantity(each.get(agreed.gpu.resource, 0)) for each in limits))


def _ports(pods: Sequence[Body]) -> set[str | int]:
    return set(jmespath.search("[].containers[].ports[].[name, containerPort][]", pods))


def object_name(body: Body) -> str:
    """How findings name an object, as in `Deployment triton/triton`."""
    meta = body.get("metadata") or {}
    place = f"{meta['namespace']}/" if meta.get("namespace") else ""
    return f"{body.get('kind', 'object')} {place}{meta.get('name', '(no name)')}"


def pod_template(owner: Body) -> Body:
    """The part of a workload with the pod's `metadata` and `spec`."""
    spec = owner["spec"]["jobTemplate"]["spec"] if owner["kind"] == "CronJob" else owner["spec"]
    template: Body = owner if owner["kind"] == "Pod" else spec["template"]
    return template


def quantity(value: object) -> Decimal:
    """The number that a quantity stands for, as 0.5 for `500m`; `ValueError` for `8GB`."""
    from kubernetes.utils.quantity import parse_quantity

    return Decimal(parse_quantity(value))  # type: ignore[no-untyped-call]


def tolerates(toleration: Body, taint: Body) -> bool:
    """Whether a toleration lets a pod onto a node with the taint."""
    if toleration.get("effect") not in (None, "", taint["effect"]):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint["key"])
    return (toleration.get("key"), toleration.get("value", "")) == (taint["key"], taint["value"])


def keeps_off(spec: Body, label: Label) -> bool:
    """Whether every term of a pod's node affinity keeps it off nodes with a label."""
    required = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
    terms = jmespath.search(f"{required}.nodeSelectorTerms", spec) or [{}]
    return all(
        any(
            each["key"] == label.key and (
                each["operator"] == "DoesNotExist"
                or (each["operator"] == "NotIn" and label.value in each["values"])
            )
            for each in term.get("matchExpressions") or []
        )
        for term in terms
    )  # fmt: skip
