"""Triton's container: probes, flags, ports, models.

Source: `tritonserver --help`; docs/protocol/extension_* and the KServe protocol for paths.
"""

import re
from collections.abc import Iterator

from helpers.cluster.fields import Field
from helpers.cluster.findings import Finding, meant
from helpers.cluster.objects import Pod
from helpers.cluster.rules import lifecycle, probes
from helpers.cluster.rules.access import ROLE_ANNOTATION
from helpers.cluster.rules.scope import Rule, Scope
from helpers.cluster.rules.triton_flags import BOOLEAN, FLAGS, NUMBER, REPEATABLE

LIVE, READY = "/v2/health/live", "/v2/health/ready"
PATHS = {"livenessProbe": (LIVE,), "readinessProbe": (READY,), "startupProbe": (LIVE, READY)}
DEFAULT_EXIT_S = 30
LONGEST_NOTICE_S = 120  # a dead server is noticed within so long
LEAST_START_S = 60  # CUDA's start and loading the models take about that on a g4dn.xlarge
Container = tuple[Pod, Field, dict[str, list[Field]]]


def tritons(scope: Scope) -> Iterator[Container]:
    """Every container that runs Triton, with its flags and their values."""
    for pod in scope.objects.pods:
        for one in pod.containers:
            words = [*one["command"], *one["args"]]
            if any(re.search(r"(^|/)tritonserver$", word.text) for word in words):
                yield pod, one, _flags(words)


def _flags(words: list[Field]) -> dict[str, list[Field]]:
    """Flag → its values, each at the argument where it stands; `--a=b` and `--a b` alike."""
    found: dict[str, list[Field]] = {}
    for number, word in enumerate(words):
        name, equals, value = word.text.partition("=")
        if name.startswith("--"):
            following = words[number + 1].text if number + 1 < len(words) else ""
            value = value if equals else ("" if following.startswith("--") else following)
            found.setdefault(name.removeprefix("--"), []).append(Field(value, word.path))
    return found


def _last(flags: dict[str, list[Field]], name: str, default: str = "") -> str:
    return flags[name][-1].text if name in flags else default


def served(scope: Scope) -> Iterator[Finding]:
    """Somebody serves: there is a container that runs Triton, if there is a Deployment at all."""
    deployments = scope.objects.of_kind("Deployment")
    if deployments and not any(True for _ in tritons(scope)):
        field = deployments[0]["spec"]["template"]["spec"]["containers"][0]["command"]
        yield deployments[0].fault(field, "no container runs tritonserver", "tritonserver")


def flags(scope: Scope) -> Iterator[Finding]:
    """Flags are Triton's own, are given once, and hold values that it reads."""
    for pod, _, found in tritons(scope):
        for name, given in found.items():
            if name not in FLAGS:
                right = meant(name, FLAGS)
                right = right if len(right) < 60 else "a flag of tritonserver --help"
                yield pod.fault(given[0], f"Triton knows no flag --{name}", right)
                continue
            if len(given) > 1 and name not in REPEATABLE:
                yield pod.fault(given[1], f"--{name} stands {len(given)} times", "once")
            for one in given:
                if name in BOOLEAN and one.text.lower() not in ("true", "false", "1", "0"):
                    yield pod.fault(one, f"'{one.text}' is neither true nor false", "true or false")
                if name in NUMBER and not re.fullmatch(r"-?\d+", one.text):
                    yield pod.fault(one, f"'{one.text}' is no number", "a whole number")


def arguments(scope: Scope) -> Iterator[Finding]:
    """Every argument is a flag, or the value of the flag before it."""
    for pod, one, _ in tritons(scope):
        previous = ""
        for word in one["args"]:
            follows = previous.startswith("--") and "=" not in previous
            if not word.text.startswith("--") and not follows:
                yield pod.fault(word, f"'{word.text}' is no flag and no value", "--name=value")
            previous = word.text


def models(scope: Scope) -> Iterator[Finding]:
    """Model control is explicit, and names what is loaded, once each."""
    for pod, one, found in tritons(scope):
        mode, loaded = found.get("model-control-mode", []), found.get("load-model", [])
        field = mode[-1] if mode else one["args"]
        if _last(found, "model-control-mode") != "explicit":
            wrong = f"model control is '{_last(found, 'model-control-mode', 'none')}'"
            yield pod.fault(field, wrong, "--model-control-mode=explicit")
        elif not loaded:
            yield pod.fault(field, "explicit, and no model is named", "--load-model=<name>")
        names = [each.text for each in loaded]
        for number, each in enumerate(loaded):
            if not each.text or names.index(each.text) < number:
                yield pod.fault(each, f"the model '{each.text}' is named twice, or not", "a name")


def repository(scope: Scope) -> Iterator[Finding]:
    """Models come from the image or from S3, there by an AWS role and with room to copy them."""
    for pod, one, found in tritons(scope):
        given = [*found.get("model-repository", []), *found.get("model-store", [])]
        if not given:
            yield pod.fault(
                one["args"], "no model repository is named", "--model-repository=<place>"
            )
        for each in given:
            if not re.match(r"(/|s3://[a-z0-9.-]{3,63}(/|$)|gs://|as://)", each.text):
                right = "an absolute path, or s3://<bucket>/<prefix>"
                yield pod.fault(each, f"'{each.text}' is no repository", right)
            if each.text.startswith("s3://"):
                yield from _s3(scope, pod, one, each)


def _s3(scope: Scope, pod: Pod, one: Field, each: Field) -> Iterator[Finding]:
    prefix = each.text.removeprefix("s3://").partition("/")[2].strip("/")
    allowed = scope.contract.models.prefix
    if prefix != allowed and not prefix.startswith(f"{allowed}/"):
        wrong = f"Triton's role cannot read the prefix '{prefix}'"
        yield pod.fault(each, wrong, f"s3://<bucket>/{allowed}")
    name = pod.spec["serviceAccountName"]
    account = scope.objects.find("ServiceAccount", pod.namespace, name.text)
    if account is None or ROLE_ANNOTATION not in account.annotations:
        yield pod.fault(name, "models come from S3, and no AWS role is there", ROLE_ANNOTATION)
    writable = {mount["mountPath"].text for mount in one["volumeMounts"]}
    if one["securityContext"]["readOnlyRootFilesystem"].value is True and "/tmp" not in writable:
        yield pod.fault(one["volumeMounts"], "models are copied to /tmp, which cannot be written",
                        "an emptyDir at /tmp")  # fmt: skip


def health(scope: Scope) -> Iterator[Finding]:
    """Live is asked for life, ready for readiness; a slow start is not taken for death."""
    for pod, one, _ in tritons(scope):
        for name, known in PATHS.items():
            probe = one[name]
            if not probe.given:
                yield pod.fault(probe, f"there is no {name}", f"httpGet {known[0]}")
            elif probe["httpGet"].given and probe["httpGet"]["path"].text not in known:
                field = probe["httpGet"]["path"]
                yield pod.fault(field, f"'{field.value}' is not for the {name}", known[0])
            elif not probe["httpGet"].given:
                yield pod.fault(probe, "the probe does not ask Triton", f"httpGet {known[0]}")
        for name in ("livenessProbe", "readinessProbe"):
            noticed = probes.budget_s(one[name])
            if one[name].given and noticed > LONGEST_NOTICE_S:
                wrong = f"a server that is gone is noticed after {noticed} s"
                yield pod.fault(one[name], wrong, f"periods and tries within {LONGEST_NOTICE_S} s")
        start = one["startupProbe"]
        if start.given and probes.budget_s(start) < LEAST_START_S:
            wrong = f"Triton has {probes.budget_s(start)} s to start"
            yield pod.fault(start["failureThreshold"], wrong, f"at least {LEAST_START_S} s")


def ports(scope: Scope) -> Iterator[Finding]:
    """Triton listens where the container says, and both where the contract says."""
    agreed = scope.contract.ports
    wanted = {"http": agreed.http, "grpc": agreed.grpc, "metrics": agreed.metrics}
    for pod, one, found in tritons(scope):
        declared = {port["name"].text: port["containerPort"] for port in one["ports"]}
        for name, number in wanted.items():
            flag = found.get(f"{name}-port", [])
            if flag and flag[-1].text != str(number):
                yield pod.fault(flag[-1], f"Triton listens on {flag[-1].text}", str(number))
            field = declared.get(name)
            if field is None:
                yield pod.fault(one["ports"], f"no port is called {name}", f"{name}: {number}")
            elif field.value != number:
                yield pod.fault(field, f"{field.value} is not the port of {name}", str(number))
            allowed = found.get(f"allow-{name}", [])
            if allowed and allowed[-1].text.lower() in ("false", "0"):
                yield pod.fault(allowed[-1], f"{name} is switched off", "true")
        for probe in probes.PROBES:
            port = one[probe]["httpGet"]["port"]
            if port.given and port.value not in ("http", agreed.http):
                yield pod.fault(port, f"Triton answers {port.value} otherwise", "http")


def metrics(scope: Scope) -> Iterator[Finding]:
    """Latency histograms are counted: percentiles on the server's side come from them."""
    for pod, one, found in tritons(scope):
        given = [each.text for each in found.get("metrics-config", [])]
        if "histogram_latencies=true" not in given:
            right = "--metrics-config=histogram_latencies=true"
            yield pod.fault(one["args"], "latency histograms are off", right)
        for each in found.get("metrics-config", []):
            if not re.fullmatch(r"[a-z_]+=\S+", each.text):
                yield pod.fault(each, f"'{each.text}' is no setting", "name=value")


def ending(scope: Scope) -> Iterator[Finding]:
    """PreStop and Triton's own time-out end before the kubelet kills."""
    for pod, one, found in tritons(scope):
        text = _last(found, "exit-timeout-secs", str(DEFAULT_EXIT_S))
        exit_s = int(text) if text.isdigit() else DEFAULT_EXIT_S
        needed, grace = lifecycle.pre_stop_s(one) + exit_s, lifecycle.grace_s(pod)
        field = pod.spec["terminationGracePeriodSeconds"]
        if needed >= grace:
            wrong = f"preStop and exit time-out take {needed} s, the kill comes after {grace} s"
            yield pod.fault(field, wrong, f"more than {needed}")
        if lifecycle.pre_stop_s(one) < 1:
            wrong = "Triton unloads its models while requests still arrive"
            yield pod.fault(one["lifecycle"]["preStop"], wrong, "a sleep of some seconds")


RULES: tuple[Rule, ...] = (
    served, flags, arguments, models, repository, health, ports, metrics, ending,
)  # fmt: skip
