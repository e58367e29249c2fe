"""What Triton's chart makes, read off the rendered objects."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from helpers import programs
from tests.k8s import charts
from tests.k8s.charts import Object, Objects


def annotations(ingress: Object) -> dict[str, str]:
    """Its annotations without the controller's prefix."""
    pairs = ingress["metadata"]["annotations"].items()
    return {key.removeprefix("alb.ingress.kubernetes.io/"): value for key, value in pairs}


def environment(objects: Objects) -> dict[str, str]:
    return {each["name"]: each["value"] for each in objects.server()["env"]}


def flags(objects: Objects) -> list[str]:
    arguments: list[str] = objects.server()["args"]
    return arguments


def test_the_chart_passes_the_strict_linter_without_values() -> None:
    charts.helm("lint", "--strict", charts.TRITON)


def test_another_contract_is_followed_everywhere() -> None:
    objects = charts.triton(
        "gpu.taint.key=dedicated", "gpu.label.key=gpu-type", "gpu.resource=example.com/card",
        "ports.http=9000", "ports.metrics=9002", "namespaces.monitoring=watch",
        "serviceAccounts.triton=server",
    )  # fmt: skip
    pod = objects.pod()
    assert pod["tolerations"][0]["key"] == "dedicated"
    assert list(pod["nodeSelector"]) == ["gpu-type"]
    assert objects.server()["resources"]["limits"]["example.com/card"] == "1"
    assert "--http-port=9000" in flags(objects)
    assert [port["port"] for port in objects.get("Service")["spec"]["ports"]] == [9000, 8001, 9002]
    assert ":9000" in json.dumps(objects.get("Pod", "triton-test")["spec"]["containers"][0]["args"])
    assert pod["serviceAccountName"] == objects.get("ServiceAccount", "server")["metadata"]["name"]
    assert '"kubernetes.io/metadata.name": "watch"' in json.dumps(objects.get("NetworkPolicy"))


def test_the_cpu_values_run_the_same_chart_without_a_gpu_or_an_identity(
    cpu: Objects, gpu: Objects
) -> None:
    assert "nvidia.com/gpu" not in json.dumps(cpu)
    assert not cpu.pod().keys() & {"nodeSelector", "tolerations"}
    assert environment(cpu)["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert "--allow-gpu-metrics=false" in flags(cpu)
    assert cpu.kinds() <= gpu.kinds() - {"Ingress", "HorizontalPodAutoscaler", "ServiceMonitor"}
    assert "annotations" not in cpu.get("ServiceAccount")["metadata"]
    assert cpu.get("NetworkPolicy")["spec"]["egress"] == []
    assert not any(name.startswith("AWS") for name in environment(cpu))


def test_the_pods_can_be_sent_away_without_removing_the_release() -> None:
    objects = charts.triton("autoscaling.enabled=false", "replicas=0")
    assert objects.get("Deployment")["spec"]["replicas"] == 0
    assert "HorizontalPodAutoscaler" not in objects.kinds()
    assert "Ingress" in objects.kinds()


def test_models_in_s3_are_read_through_irsa(s3: Objects) -> None:
    assert "--model-repository=s3://gpu-e2e-artifacts/models" in flags(s3)
    notes = s3.get("ServiceAccount")["metadata"]["annotations"]
    assert notes["eks.amazonaws.com/role-arn"].startswith("arn:aws:iam")
    assert environment(s3)["AWS_REGION"] == "us-east-1"
    dns, https = s3.get("NetworkPolicy")["spec"]["egress"]
    assert {port["port"] for port in dns["ports"]} == {53}
    assert https["ports"] == [{"protocol": "TCP", "port": 443}]
    assert https["to"][0]["ipBlock"]["except"] == ["169.254.169.254/32"]


def test_two_ingresses_share_one_load_balancer(gpu: Objects) -> None:
    http, grpc = (annotations(gpu.get("Ingress", name)) for name in ("triton", "triton-grpc"))
    # if any of these differed, the controller would serve neither
    exclusive = ("load-balancer-name", "scheme", "inbound-cidrs", "ssl-policy", "ssl-redirect")
    for key in ("group.name", "load-balancer-attributes", "tags", "certificate-arn", *exclusive):
        assert http[key] == grpc[key]
    assert int(grpc["group.order"]) < int(http["group.order"])
    assert json.loads(http["listen-ports"]) == [{"HTTP": 80}, {"HTTPS": 443}]
    assert json.loads(grpc["listen-ports"]) == [{"HTTPS": 443}]
    assert (http["backend-protocol-version"], grpc["backend-protocol-version"]) == ("HTTP1", "GRPC")
    assert (http["healthcheck-path"], http["success-codes"]) == ("/v2/health/ready", "200")
    health = (grpc["healthcheck-path"], grpc["success-codes"])
    assert health == ("/grpc.health.v1.Health/Check", "0")
    tags = dict(pair.split("=") for pair in http["tags"].split(","))
    assert tags.keys() == {"project", "owner", "run"}


def test_callers_do_not_reach_model_control(gpu: Objects) -> None:
    paths = [
        (path["path"], path["pathType"])
        for name in ("triton", "triton-grpc")
        for rule in gpu.get("Ingress", name)["spec"]["rules"]
        for path in rule["http"]["paths"]
    ]
    for wanted in ("/v2/repository/index", "/inference.GRPCInferenceService/RepositoryModelUnload"):
        assert not any(
            wanted == path or (kind == "Prefix" and wanted.startswith(f"{path}/"))
            for path, kind in paths
        )
    assert ("/v2/models", "Prefix") in paths
    assert ("/inference.GRPCInferenceService/ModelInfer", "Exact") in paths


def test_the_autoscaler_reads_the_metric_that_the_adapter_offers(gpu: Objects) -> None:
    (metric,) = gpu.get("HorizontalPodAutoscaler")["spec"]["metrics"]
    adapter = charts.filled(charts.K8S / "values/prometheus-adapter.yaml")
    assert metric["pods"]["metric"]["name"] in adapter


# what checkov finds in the chart's objects → why it stays
ACCEPTED = {
    ("CKV_K8S_40", "Deployment.triton.triton"): "the image's own user has the number 1000",
    ("CKV_K8S_8", "Pod.triton.triton-test"): "it ends within seconds",
    ("CKV_K8S_9", "Pod.triton.triton-test"): "it ends within seconds",
    ("CKV2_K8S_6", "Pod.triton.triton-test"): "nobody calls it",
}


def test_checkov_finds_nothing_but_what_is_accepted(gpu: Objects, tmp_path: Path) -> None:
    program = programs.find("checkov")
    if program is None:
        pytest.skip("there is no checkov here: 'make setup' names the way to it")
    (tmp_path / "triton.yaml").write_text(yaml.safe_dump_all(list(gpu)))
    command = [str(program), "--directory", str(tmp_path), "--framework", "kubernetes"]
    command += ["--quiet", "--compact", "--skip-download", "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    report = json.loads(done.stdout[done.stdout.index("{") :])
    failed = {(each["check_id"], each["resource"]) for each in report["results"]["failed_checks"]}
    assert failed == set(ACCEPTED)
    assert report["summary"]["passed"] > 150
