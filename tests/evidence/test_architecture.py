"""The diagram shows what plan and charts contain, and nothing else."""

import json
from typing import Any

import pytest
import yaml

from helpers.cloud.plan import PUBLIC_SUBNET, Plan
from helpers.errors import Problem
from helpers.evidence import architecture
from helpers.evidence.architecture import ALB, SERVICES, read
from helpers.run import Run
from tests.cloud.plans import CAPPED, SYSTEM, document

SUBNETS = [
    ("aws_subnet", {"availability_zone": zone, "tags": tags})
    for zone in ("us-east-1a", "us-east-1b")
    for tags in ({PUBLIC_SUBNET: "1"}, {})
]
RESOURCES: list[tuple[str, dict[str, Any]]] = [
    ("aws_vpc", {"cidr_block": "10.42.0.0/16"}),
    *SUBNETS,
    ("aws_nat_gateway", {}),
    ("aws_eks_cluster", {"version": "1.35"}),
    ("aws_eks_node_group", SYSTEM),
    ("aws_autoscaling_group", CAPPED),
    *((kind, {}) for kind in SERVICES),
]


def plan(*left_out: str) -> dict[str, Any]:
    return document(*(item for item in RESOURCES if item[0] not in left_out))


def workload(name: str, limits: dict[str, int]) -> dict[str, Any]:
    spec = {"containers": [{"resources": {"limits": limits}}]}
    return {"kind": "Deployment", "metadata": {"name": name}, "spec": {"template": {"spec": spec}}}


PORTS = {f"{ALB}/listen-ports": '[{"HTTPS": 443}]'}
CHARTS = [
    workload("triton", {"nvidia.com/gpu": 1}),
    workload("grafana", {}),
    {"kind": "Ingress", "metadata": {"annotations": PORTS}},
]


def test_plan_and_charts_are_read() -> None:
    content = read(Plan(plan()), CHARTS)
    assert (content.network, content.zones) == ("/16", 2)
    assert (content.public, content.private, content.gateways) == (2, 2, 1)
    assert (content.kubernetes, content.listeners) == ("1.35", ["HTTPS"])
    gpu, system = content.nodes
    assert (gpu.gpu, gpu.workloads) == (True, ("triton",))
    assert "g4dn.xlarge spot, at most $0.30/h" in gpu.description
    assert (system.gpu, system.workloads) == (False, ("grafana",))
    assert set(content.services) == {title for title, _ in SERVICES.values()}


@pytest.mark.parametrize("kind", ["aws_s3_bucket", "aws_scheduler_schedule", "aws_nat_gateway",
                                  "aws_autoscaling_group", "aws_eks_cluster"])  # fmt: skip
def test_what_is_removed_from_the_plan_leaves_the_picture(kind: str) -> None:
    whole = read(Plan(plan()), CHARTS).sentence
    assert len(read(Plan(plan(kind)), CHARTS).sentence) < len(whole)


def test_the_picture_is_drawn_from_the_run(run: Run) -> None:
    with pytest.raises(Problem, match=r"has no terraform/plan.json. Run stage 01 first"):
        architecture.draw(run)
    run.write("terraform/plan.json", json.dumps(plan()))
    run.write("cluster/rendered/triton.yaml", yaml.safe_dump_all(CHARTS))
    architecture.draw(run)
    picture = (run.folder / "evidence/figures/architecture.svg").read_text()
    for word in ("triton", "grafana", "NAT gateway", "EKS 1.35", "REHEARSAL", "Scheduler"):
        assert word in picture, word
