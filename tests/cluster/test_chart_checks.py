"""The checks of our charts: the report of a run, and each invariant catches its fault."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from helpers import programs
from helpers.cloud.account import Account
from helpers.cluster import chart_checks, client, contract, gpus
from helpers.cluster.client import Cluster
from helpers.cluster.records import ChartChecks
from helpers.cluster.releases import Lock
from helpers.errors import Problem
from helpers.run import Run
from tests.k8s import charts

from . import scenes
from .api_server import Server

pytestmark = pytest.mark.skipif(programs.find("helm") is None, reason="there is no helm here")
AGREED = contract.load()
ORDER = ["lint", "render", "schema", "rules", "dry run"]
Body = dict[str, Any]


def test_the_report_keeps_the_order_and_says_what_each_line_is_worth(
    run: Run, account: Account
) -> None:
    record = chart_checks.check(run, account, "")
    assert record == run.load(ChartChecks)
    assert record.holds and record.faults == ()
    assert [line.check for line in record.lines if line.values == "gpu"] == ORDER
    labels = {line.check: line.label for line in record.lines}
    assert (labels["lint"], labels["render"], labels["rules"]) == ("RAN", "RAN", "CHECKED")
    assert labels["dry run"] == "NOT RUN" and "no API server" in record.lines[-1].seen
    assert list(record.frame()["Check"]) == [line.check for line in record.lines]


def test_where_an_api_server_answers_it_is_the_judge(
    run: Run, account: Account, server: Server, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "connect", lambda run, account: cluster)
    server.refuse("PATCH", "/deployments/triton$", 422, "spec.x: Forbidden")
    record = chart_checks.check(run, account, "")
    lines = [line for line in record.lines if line.check == "dry run"]
    assert {line.label for line in lines} == {"RAN"} and not record.holds
    assert f"the API server of {cluster.name} judged" in lines[0].seen
    assert "spec.x: Forbidden" in record.faults[0]


def test_without_helm_nothing_is_claimed(
    run: Run, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "TOOLS", run.folder)
    monkeypatch.setenv("PATH", "")
    record = chart_checks.check(run, account, "")
    assert not record.holds and "no helm on this machine" in record.absent
    assert record.summary.startswith("NOT RUN")


@pytest.fixture(scope="module")
def gpu() -> list[Body]:
    """The chart as AWS gets it."""
    return list(charts.triton())


def kind(objects: list[Body], name: str) -> Body:
    return next(body for body in objects if body["kind"] == name)


def spec(objects: list[Body]) -> Body:
    pod: Body = kind(objects, "Deployment")["spec"]["template"]["spec"]
    return pod


def container(objects: list[Body]) -> Body:
    triton: Body = spec(objects)["containers"][0]
    return triton


def arguments(objects: list[Body], old: str, new: str) -> None:
    container(objects)["args"] = [each.replace(old, new) for each in container(objects)["args"]]


def surge(objects: list[Body], **update: Any) -> None:
    kind(objects, "Deployment")["spec"]["strategy"]["rollingUpdate"] = update


# what is broken → the field that the finding names
FAULTS: list[tuple[Callable[[list[Body]], Any], str]] = [
    (lambda o: container(o).update(image="r/x:latest"), "triton.image"),
    (lambda o: container(o)["resources"]["requests"].pop(AGREED.gpu.resource), "triton.resources"),
    (lambda o: container(o)["livenessProbe"]["httpGet"].update(port="web"), "httpGet.port"),
    (lambda o: container(o)["readinessProbe"]["httpGet"].update(path="/"), "httpGet.path"),
    (lambda o: container(o)["ports"].pop(1), "args"),
    (lambda o: arguments(o, "--http-port=8000", "--http-port=8008"), "args"),
    (lambda o: arguments(o, "explicit", "poll"), "args"),
    (lambda o: container(o)["lifecycle"]["preStop"]["sleep"].update(seconds=90), "termination"),
    (lambda o: spec(o).update(terminationGracePeriodSeconds=600), "termination"),
    (lambda o: container(o)["securityContext"].update(allowPrivilegeEscalation=True), "security"),
    (lambda o: spec(o)["securityContext"].pop("runAsNonRoot"), "securityContext"),
    (lambda o: spec(o)["tolerations"][0].update(value="no"), "tolerations"),
    (lambda o: spec(o).pop("nodeSelector"), "nodeSelector"),
    (lambda o: kind(o, "Deployment")["spec"]["selector"]["matchLabels"].update(a="b"), "selector"),
    (lambda o: kind(o, "Service")["spec"]["selector"].update(a="b"), "spec.selector"),
    (lambda o: kind(o, "Service")["spec"]["ports"][0].update(targetPort="web"), "spec.ports"),
    (lambda o: kind(o, "PodDisruptionBudget")["spec"].update(maxUnavailable=0), "spec"),
    (lambda o: kind(o, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"].update(a="b"),
     "spec.selector"),
    (lambda o: kind(o, "NetworkPolicy")["spec"]["podSelector"]["matchLabels"].update(a="b"),
     "spec.selector"),
    (lambda o: kind(o, "NetworkPolicy")["spec"]["ingress"][0]["ports"][0].update(port="web"),
     "spec.ports"),
    (lambda o: kind(o, "Ingress")["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]
     .update(name="gone"), "spec.rules"),
    (lambda o: kind(o, "ServiceMonitor")["spec"]["endpoints"][0].update(port="web"), "spec"),
    (lambda o: kind(o, "HorizontalPodAutoscaler")["spec"]["scaleTargetRef"].update(name="gone"),
     "scaleTargetRef"),
    (lambda o: kind(o, "Deployment")["spec"].update(replicas=1), "spec.replicas"),
    (lambda o: spec(o).update(serviceAccountName="gone"), "serviceAccountName"),
    (lambda o: spec(o).update(priorityClassName="gone"), "priorityClassName"),
    (lambda o: surge(o, maxSurge=1, maxUnavailable=0), "maxSurge"),
    (lambda o: surge(o, maxSurge="25%", maxUnavailable=1), "maxSurge"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(FAULTS)))
def test_a_fault_is_caught_where_it_is(gpu: list[Body], number: int) -> None:
    fault, field = FAULTS[number]
    objects = copy.deepcopy(gpu)
    assert list(chart_checks.invariants(objects, AGREED)) == []
    fault(objects)
    assert field in "; ".join(finding.field for finding in chart_checks.invariants(objects, AGREED))


def test_models_from_s3_pass_every_check() -> None:
    s3 = ("source=s3", "s3.bucket=b-1", "s3.region=us-east-1")
    objects = charts.triton(*(f"modelRepository.{each}" for each in s3))
    lines = chart_checks.check_objects(objects, AGREED, "1.35", "gpu")
    assert [finding for line in lines for finding in line.findings] == []


def test_a_field_that_the_api_does_not_have_is_refused_by_its_schema(gpu: list[Body]) -> None:
    objects = copy.deepcopy(gpu)
    container(objects)["imagePulPolicy"] = "Always"
    schema, rules = chart_checks.check_objects(objects, AGREED, "1.35", "gpu")
    assert "imagePulPolicy" in schema.findings[0].wrong
    assert rules.label == "NOT RUN"
    kind(objects, "Service")["apiVersion"] = "v2"
    findings, custom = chart_checks.schema_findings(objects, "1.99")
    assert any("no Service in 'v2'" in each.wrong for each in findings)
    assert custom == ("ServiceMonitor",)


def test_an_upstream_object_that_the_api_refuses_is_a_fault(run: Run) -> None:
    release = Lock.load().named("nvidia-device-plugin")
    pod: Body = {"metadata": {"labels": {"a": "b"}},
                 "spec": {"containers": [{"name": "c", "image": "i"}]}}  # fmt: skip
    owner = {"selector": {"matchLabels": {"a": "b"}}, "template": pod}
    body = scenes.body("apps/v1", "DaemonSet", release.name, spec=owner)
    assert "1 objects have the schema" in gpus.check_upstream(run, release, [body])
    pod["spec"]["containers"] = []
    with pytest.raises(Problem, match="1 faults, first: DaemonSet"):
        gpus.check_upstream(run, release, [body | {"spec": owner | {"replica": 1}}])
