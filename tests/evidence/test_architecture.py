"""The diagram holds what plan and charts hold, and nothing else."""

import json
from typing import Any

import pytest
import yaml

from helpers.cloud.plan import Plan
from helpers.errors import Problem
from helpers.evidence import architecture
from helpers.evidence.architecture import SERVICES, read
from helpers.run import Run


def resource(kind: str, **values: object) -> dict[str, Any]:
    return {"mode": "managed", "type": kind, "values": values}


def subnets() -> list[dict[str, Any]]:
    return [
        resource(
            "aws_subnet",
            availability_zone=f"us-east-1{zone}",
            tags={"kubernetes.io/role/elb": "1"} if public else {},
        )
        for zone in "ab"
        for public in (True, False)
    ]


GPU_GROUP = resource(
    "aws_autoscaling_group",
    name="gpu",
    min_size=0,
    desired_capacity=1,
    max_size=2,
    mixed_instances_policy=[
        {
            "instances_distribution": [
                {"spot_max_price": "0.30", "on_demand_percentage_above_base_capacity": 0}
            ],
            "launch_template": [{"override": [{"instance_type": "g4dn.xlarge"}]}],
        }
    ],
)
RESOURCES = [
    resource("aws_vpc", cidr_block="10.42.0.0/16"),
    *subnets(),
    resource("aws_nat_gateway"),
    resource("aws_eks_cluster", version="1.35"),
    resource(
        "aws_eks_node_group",
        node_group_name="system",
        instance_types=["t3.large"],
        scaling_config=[{"min_size": 1, "desired_size": 2, "max_size": 3}],
    ),
    GPU_GROUP,
    *[resource(kind) for kind in SERVICES],
]


def plan(*left_out: str) -> dict[str, Any]:
    """A plan without the named types; half of it in a module."""
    kept = [one for one in RESOURCES if one["type"] not in left_out]
    child = {"resources": kept[4:]}
    return {"planned_values": {"root_module": {"resources": kept[:4], "child_modules": [child]}}}


def workload(name: str, gpu: bool) -> dict[str, Any]:
    limits = {"nvidia.com/gpu": 1} if gpu else {}
    spec = {"containers": [{"resources": {"limits": limits}}]}
    return {"kind": "Deployment", "metadata": {"name": name}, "spec": {"template": {"spec": spec}}}


CHARTS = [
    workload("triton", gpu=True),
    workload("grafana", gpu=False),
    {
        "kind": "Ingress",
        "metadata": {"annotations": {"alb.ingress.kubernetes.io/listen-ports": '[{"HTTPS": 443}]'}},
    },
]


def test_plan_and_charts_are_read() -> None:
    found = read(Plan(plan()), CHARTS)
    assert (found.network, found.zones) == ("/16", 2)
    assert (found.public, found.private, found.gateways, found.kubernetes) == (2, 2, 1, "1.35")
    assert found.listeners == ["HTTPS"]
    groups = {one.gpu: one for one in found.nodes}
    assert groups[True].workloads == ("triton",)
    assert "g4dn.xlarge spot, at most $0.30/h" in groups[True].description
    assert groups[False].workloads == ("grafana",)
    assert set(found.services) == {title for title, _ in SERVICES.values()}


@pytest.mark.parametrize("kind", ["aws_s3_bucket", "aws_scheduler_schedule", "aws_nat_gateway",
                                  "aws_autoscaling_group", "aws_eks_cluster"])  # fmt: skip
def test_what_is_removed_from_the_plan_leaves_the_picture(run: Run, kind: str) -> None:
    whole = read(Plan(plan()), CHARTS).sentence
    less = read(Plan(plan(kind)), CHARTS).sentence
    assert len(less) < len(whole)


def test_the_picture_is_drawn_from_the_run(run: Run) -> None:
    run.write("terraform/plan.json", json.dumps(plan()))
    run.write("cluster/rendered/triton.yaml", yaml.safe_dump_all(CHARTS))
    architecture.draw(run)
    picture = (run.folder / "evidence/figures/architecture.svg").read_text()
    for word in ("triton", "grafana", "NAT gateway", "EKS 1.35", "REHEARSAL", "Scheduler"):
        assert word in picture, word


def test_without_a_plan_there_is_no_picture(run: Run) -> None:
    with pytest.raises(Problem, match=r"has no terraform/plan.json. Run stage 01 first"):
        architecture.draw(run)
