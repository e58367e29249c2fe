"""Charts rendered by the real helm, and what comes out of them."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import yaml

from helpers import programs
from helpers.paths import ROOT

K8S = ROOT / "k8s"
TRITON = K8S / "charts/triton"
CONTRACT = K8S / "contract.yaml"
GPU = TRITON / "ci/gpu-values.yaml"
CPU = TRITON / "values-cpu.yaml"
KUBERNETES = "1.35.0"
ROLES = ("triton", "alb_controller", "cluster_autoscaler")
OUTPUTS = {
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
    """Helm did not render; the text is what it said."""


def helm(*arguments: str | Path) -> str:
    """What helm prints.

    Raises:
        Refused: It fails.
    """
    done = subprocess.run(
        [programs.need("helm"), *map(str, arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise Refused(done.stdout + done.stderr)
    return done.stdout


def triton(
    *settings: str, values: Sequence[Path] = (CONTRACT, GPU), namespace: str = "triton"
) -> "Objects":
    """Our chart, rendered as it would be installed.

    Args:
        settings: Pairs as helm's --set takes them.
        values: Values files.
        namespace: Where it goes.
    """
    files = [f"--values={path}" for path in values]
    pairs = [f"--set={one}" for one in settings]
    return Objects.of(
        helm("template", "triton", TRITON, f"--namespace={namespace}", *files, *pairs)
    )


class Objects(list[Object]):
    """Rendered objects, found by kind and name."""

    @classmethod
    def of(cls, text: str) -> "Objects":
        """Objects of a manifest."""
        return cls(one for one in yaml.load_all(text, yaml.CSafeLoader) if one)

    def one(self, kind: str, name: str = "triton") -> Object:
        """The object of this kind and name."""
        (found,) = (one for one in self if (one["kind"], one["metadata"]["name"]) == (kind, name))
        return found

    def kinds(self) -> set[str]:
        """The kinds there are."""
        return {one["kind"] for one in self}

    def pod(self, kind: str = "Deployment", name: str = "triton") -> Object:
        """The pod's specification in a workload."""
        found: Object = self.one(kind, name)["spec"]["template"]["spec"]
        return found

    def server(self) -> Object:
        """Triton's container."""
        (found,) = self.pod()["containers"]
        return dict(found)


def contract() -> Object:
    """The contract as helm gets it."""
    found: Object = yaml.safe_load(CONTRACT.read_text())
    return found


def filled(path: Path, outputs: Mapping[str, Any] = OUTPUTS) -> str:
    """A values file or the lock file with a run's facts in it."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(path.read_text()).render(
        contract=contract(),
        outputs=outputs,
        image={"repository": "registry.example/gpu-e2e", "digest": f"sha256:{'2' * 64}"},
        models=["mobilenetv2", "resnet50"],
        max_replicas=2,
    )


def lock() -> Object:
    """k8s/releases.yaml."""
    found: Object = yaml.safe_load(filled(K8S / "releases.yaml"))
    return found


def releases() -> dict[str, Object]:
    """Releases of the lock file by name, in their order."""
    return {one["name"]: one for one in lock()["releases"]}
