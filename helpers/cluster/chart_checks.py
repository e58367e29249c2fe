"""Triton's chart before it is installed: lint, render, schema, our invariants, API server.

What helm or an API server said is RAN; what only read the rendered objects is CHECKED. Where an API
server answers (AWS; a rehearsal with `cluster.context`) it judges every object as a dry run.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from jmespath import search
from packaging.version import Version

from helpers.cloud.account import Account
from helpers.cloud.stack import Stack
from helpers.cluster import client, contract, releases
from helpers.cluster.client import Cluster
from helpers.cluster.contract import CONTRACT, Contract, Label, Taint
from helpers.cluster.helm import Helm, server_dry_run, value_flags
from helpers.cluster.records import ChartChecks, ChartFault, CheckLine
from helpers.errors import Problem, Unavailable
from helpers.paths import ROOT
from helpers.promises import CHECKED, NOT_RUN, RAN, Status
from helpers.run import Run

CHART = ROOT / "k8s" / "charts" / "triton"
RENDERED = "cluster/rendered/triton.yaml"
SPOT_NOTICE_S = 120
NO_SERVER = "no API server was asked: the profile names no cluster.context"
PROBE_PATHS = {"startupProbe": "/v2/health/live", "livenessProbe": "/v2/health/live",
               "readinessProbe": "/v2/health/ready"}  # fmt: skip
# kind → where it has the labels of the pods that it selects, and the ports that these must open
SELECTORS = {
    "Service": ("spec.selector", "spec.ports[].[targetPort || port][]"),
    "PodDisruptionBudget": ("spec.selector.matchLabels", "`[]`"),
    "NetworkPolicy": ("spec.podSelector.matchLabels", "spec.ingress[].ports[].port"),
}

Body = Mapping[str, Any]
Findings = Iterator[tuple[str, str, str]]  # field, what is wrong, what would be right


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
                lines += [_line(check, name, NOT_RUN, "helm did not render the chart")
                          for check in ("schema", "rules", "dry run")]  # fmt: skip
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


def check_objects(
    objects: Sequence[Body], agreed: Contract, kubernetes: str, values: str
) -> list[CheckLine]:
    """Schema and invariants of rendered objects of our own charts, a line each."""
    schema, custom = schema_findings(objects, kubernetes)
    beside = f"; no schema for {', '.join(custom)}" if custom else ""
    lines = [_line("schema", values, CHECKED, f"Kubernetes {kubernetes}, strict{beside}", schema)]
    if schema:  # the rest relies on well-formed objects
        return [*lines, _line("rules", values, NOT_RUN, "the schema refuses an object")]
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
    for body in objects:
        pod = _template(body)
        own = _workload(body, pod, agreed) if pod else ()
        for field, wrong, right in [*own, *_references(body, objects)]:
            yield _fault(body, field, wrong, right)


def _fault(body: Body, field: str, wrong: str, right: str) -> ChartFault:
    meta = body.get("metadata") or {}
    place = f"{meta['namespace']}/" if meta.get("namespace") else ""
    name = f"{body.get('kind', 'object')} {place}{meta.get('name', '(no name)')}"
    return ChartFault(object=name, field=field, wrong=wrong, right=right)


def _workload(owner: Body, template: Body, agreed: Contract) -> Findings:
    """A pod with a GPU goes to the contract's nodes; any other pod must not be able to."""
    spec, labels = template["spec"], template["metadata"].get("labels") or {}
    for container in [*(spec.get("initContainers") or []), *spec["containers"]]:
        for field, wrong, right in _container(spec, container, agreed):
            yield f"{container['name']}.{field}", wrong, right
        if "tritonserver" in str(container.get("command")):
            yield from _server(spec, container, agreed)
    if not (search("spec.selector.matchLabels", owner) or {}).items() <= labels.items():
        yield "spec.selector", "its own pods do not match", str(labels)
    label, taint = agreed.gpu.label, agreed.gpu.taint
    tolerations = spec.get("tolerations") or []
    asks = (spec.get("nodeSelector") or {}).get(label.key) == label.value
    limits = search("containers[].resources.limits", spec)
    if any(str(each.get(agreed.gpu.resource, 0)) != "0" for each in limits):
        if tolerations != [taint.toleration]:
            wrong = f"{tolerations} is not what the contract asks for"
            yield "tolerations", wrong, str([taint.toleration])
        if not asks:
            yield "nodeSelector", "it does not ask for a GPU node", str(label)
        update = search("spec.strategy.rollingUpdate", owner) or {}
        # a surge pod would wait for the GPU of the pod that it replaces
        if owner["kind"] == "Deployment" and (surge := update.get("maxSurge", "25%")):
            field, right = "spec.strategy.rollingUpdate.maxSurge", "maxSurge 0 and maxUnavailable 1"
            yield field, f"a surge of {surge} waits for a GPU", right
        return
    # a GPU node that has lost its taint: the load's pods must stay off it all the same
    loads = owner["metadata"].get("namespace") == agreed.namespaces.load
    for field, can_go in (
        ("tolerations", any(_tolerates(each, taint) for each in tolerations)),
        ("nodeSelector", asks),
        ("affinity", loads and not _keeps_off(spec, label)),
    ):
        if can_go:
            yield field, "a pod without a GPU may go to a GPU node", "CPU nodes only"


def _container(spec: Body, container: Body, agreed: Contract) -> Findings:
    image, whole = container.get("image"), str(agreed.gpu.per_pod)
    if "@sha256:" not in (image or ""):
        yield "image", f"'{image}' can be moved to another image", "repository@sha256:…"
    amounts = [search(f"resources.{part}", container) or {} for part in ("requests", "limits")]
    gpus = [str(each.get(agreed.gpu.resource, "")) for each in amounts]
    if any(gpus) and gpus != [whole, whole]:
        asked = f"requested as '{gpus[0]}' and limited to '{gpus[1]}'"
        yield "resources", f"{agreed.gpu.resource} is {asked}", f"{whole} for both"
    for probe in PROBE_PATHS:
        opened = search(f"{probe}.httpGet.port", container)
        if opened and opened not in _ports([spec]):
            yield f"{probe}.httpGet.port", f"nothing opens {opened}", "a port of the container"
    pod, own = spec.get("securityContext") or {}, container.get("securityContext") or {}
    if not (pod.get("runAsNonRoot") and pod.get("seccompProfile")
            and own.get("allowPrivilegeEscalation") is False
            and (own.get("capabilities") or {}).get("drop") == ["ALL"]):  # fmt: skip
        wrong = "the namespace's pod security level 'restricted' refuses it"
        yield "securityContext", wrong, "as the other containers have it"


def _server(spec: Body, container: Body, agreed: Contract) -> Findings:
    """Triton's own container: probes, ports, models and the time that it gets to end."""
    flags = dict(str(each).partition("=")[::2] for each in container.get("args") or [])
    for probe, path in PROBE_PATHS.items():
        if search(f"{probe}.httpGet.path", container) != path:
            yield f"{probe}.httpGet.path", f"it is not {path}", path
    for name, port in agreed.ports.model_dump().items():
        if flags.get(f"--{name}-port") != str(port) or port not in _ports([spec]):
            wrong = f"command line and container do not both open the contract's {name} port"
            yield "args", wrong, str(port)
    if flags.get("--model-control-mode") != "explicit" or "--load-model" not in flags:
        right = "--model-control-mode=explicit and --load-model"
        yield "args", "the models to load are not named", right
    pause = search("lifecycle.preStop.sleep.seconds", container) or 0
    needed = pause + int(flags.get("--exit-timeout-secs", 30))
    grace = spec.get("terminationGracePeriodSeconds", 30)
    if not needed < grace < SPOT_NOTICE_S:
        wrong = f"{grace} s, and the shutdown takes {needed} s"
        yield "terminationGracePeriodSeconds", wrong, f"more than that, less than {SPOT_NOTICE_S} s"


def _references(body: Body, objects: Sequence[Body]) -> Findings:
    """What an object names or selects is there."""
    named = {(each["kind"], each["metadata"]["name"]): each for each in objects}
    spec, pod = body.get("spec") or {}, (_template(body) or {}).get("spec") or {}
    for field, kind in (("serviceAccountName", "ServiceAccount"),
                        ("priorityClassName", "PriorityClass")):  # fmt: skip
        if (name := pod.get(field, "default")) != "default" and (kind, name) not in named:
            yield field, f"there is no {name}", str([each for key, each in named if key == kind])
    if selector := SELECTORS.get(body["kind"]):
        labels, ports = (search(path, body) for path in selector)
        wanted, templates = (labels or {}).items(), filter(None, map(_template, objects))
        pods = [each["spec"] for each in templates
                if wanted <= (each["metadata"].get("labels") or {}).items()]  # fmt: skip
        if not pods:
            yield "spec.selector", f"no pod has the labels {labels}", "labels of our pods"
        elif missing := set(ports or []) - _ports(pods):
            yield "spec.ports", f"no pod opens {missing}", "a port of our pods"
    match body["kind"]:
        case "PodDisruptionBudget" if spec.get("maxUnavailable") in (None, 0, "0%"):
            yield "spec", "its node cannot be drained", "maxUnavailable: 1"
        case "Ingress":
            for service in search("rules[].http.paths[].backend.service", spec):
                known = search("spec.ports[].name", named.get(("Service", service["name"])))
                if service["port"]["name"] not in (known or []):
                    yield "spec.rules", f"there is no {service}", "our Service"
        case "ServiceMonitor":
            wanted = spec["selector"]["matchLabels"].items()
            services = [each for (kind, _), each in named.items() if kind == "Service"
                        and wanted <= (each["metadata"].get("labels") or {}).items()]  # fmt: skip
            ports = search("[].spec.ports[].name", services)
            if not set(search("endpoints[].port", spec)) <= set(ports):
                yield "spec", "no Service has these labels and ports", "our Service's"
        case "HorizontalPodAutoscaler":
            if ("Deployment", spec["scaleTargetRef"]["name"]) not in named:
                yield "spec.scaleTargetRef", "there is no such Deployment", "ours"
        case "Deployment" if "replicas" in spec:
            scalers = [each for (kind, _), each in named.items()
                       if kind == "HorizontalPodAutoscaler"]  # fmt: skip
            if body["metadata"]["name"] in search("[].spec.scaleTargetRef.name", scalers):
                yield "spec.replicas", "an upgrade would undo the autoscaler", "none"


def _ports(pods: Sequence[Body]) -> set[str | int]:
    return set(search("[].containers[].ports[].[name, containerPort][]", pods))


def _template(owner: Body) -> Any:
    """The part of a workload with the pod's `metadata` and `spec`; None for other objects."""
    part = "@" if owner["kind"] == "Pod" else "spec.jobTemplate.spec.template || spec.template"
    return search(part, owner)


def _tolerates(toleration: Body, taint: Taint) -> bool:
    """Whether a toleration lets a pod onto a node with the taint."""
    if toleration.get("effect") not in (None, "", taint.effect):
        return False
    if toleration.get("operator") == "Exists":
        return toleration.get("key") in (None, "", taint.key)
    return (toleration.get("key"), toleration.get("value", "")) == (taint.key, taint.value)


def _keeps_off(spec: Body, label: Label) -> bool:
    """Whether every term of a pod's node affinity keeps it off nodes with a label."""
    required = "affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
    refusal = {"key": label.key, "operator": "NotIn", "values": [label.value]}
    terms = search(f"{required}.nodeSelectorTerms", spec) or [{}]
    return all(refusal in (term.get("matchExpressions") or []) for term in terms)
