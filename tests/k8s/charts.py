"""Charts rendered by the real helm, and what comes out of them."""

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from helpers import programs
from helpers.cluster import releases as lock_file
from helpers.paths import ROOT

K8S = ROOT / "k8s"
TRITON = K8S / "charts/triton"
CONTRACT = K8S / "contract.yaml"
GPU = TRITON / "ci/gpu-values.yaml"
CPU = TRITON / "values-cpu.yaml"
KUBERNETES = "1.35.0"
ROLES = ("triton", "alb_controller", "cluster_autoscaler")
OUTPUTS: dict[str, Any] = {
    "name": "gpu-e2e",
    "region": "us-east-1",
    "vpc_id": "vpc-0123456789abcdef0",
    "vpc_cidr": "10.42.0.0/16",
    "cluster_name": "gpu-e2e",
    "certificate_arn": "arn:aws:acm:us-east-1:123456789012:certificate/example",
    "api_cidr": "203.0.113.7/32",
    "role_arns": {role: f"arn:aws:iam::123456789012:role/gpu-e2e-{role}" for role in ROLES},
    "tags": {"project": "gpu-e2e", "owner": "Nancy", "run": "example"},
}

Object = dict[str, Any]


class Refused(Exception):
    """Helm did not render; the text is what it printed."""


def helm(*arguments: str | Path) -> str:
    """What helm prints; `Refused` if it fails."""
    command = [str(programs.need("helm")), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Refused(done.stdout + done.stderr)
    return done.stdout


def triton(
    *settings: str, values: Sequence[Path] = (CONTRACT, GPU), namespace: str = "triton"
) -> "Objects":
    """Our chart, rendered with values files and settings (pairs as helm's --set takes them)."""
    files = [f"--values={path}" for path in values]
    pairs = [f"--set={pair}" for pair in settings]
    return Objects.of(
        helm("template", "triton", TRITON, f"--namespace={namespace}", *files, *pairs)
    )


class Objects(list[Object]):
    """Rendered objects, found by kind and name."""

    @classmethod
    def of(cls, text: str) -> "Objects":
        return cls(body for body in yaml.load_all(text, yaml.CSafeLoader) if body)

    def get(self, kind: str, name: str = "triton") -> Object:
        wanted = (kind, name)
        (match,) = (body for body in self if (body["kind"], body["metadata"]["name"]) == wanted)
        return match

    def kinds(self) -> set[str]:
        return {body["kind"] for body in self}

    def pod(self, kind: str = "Deployment", name: str = "triton") -> Object:
        """The pod's specification in a workload."""
        spec: Object = self.get(kind, name)["spec"]["template"]["spec"]
        return spec

    def server(self) -> Object:
        """Triton's container."""
        (container,) = self.pod()["containers"]
        return dict(container)


def contract() -> Object:
    """The contract as helm gets it."""
    body: Object = yaml.safe_load(CONTRACT.read_text())
    return body


def filled(path: Path) -> str:
    """A values file or the lock file with a run's facts in it."""
    image = {"repository": "registry.example/gpu-e2e", "digest": f"sha256:{'2' * 64}"}
    models = ["mobilenetv2", "resnet50"]
    facts = {"contract": contract(), "outputs": OUTPUTS, "image": image, "models": models}
    return lock_file.fill(path, facts | {"max_replicas": 2})


def releases() -> dict[str, Object]:
    """Releases of the lock file by name, in their order."""
    lock = yaml.safe_load(filled(K8S / "releases.yaml"))
    return {release["name"]: release for release in lock["releases"]}
