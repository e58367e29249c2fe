"""EKS: node groups, and the Auto Scaling group and launch template that EKS makes for each."""

from copy import deepcopy
from inspect import signature
from typing import Any

from botocore import xform_name
from moto.eks.responses import EKSResponse

from helpers.rehearsal.eks_clusters import cluster_of, let_in
from helpers.rehearsal.moto_extension import Call, Refusal, operation
from helpers.rehearsal.small_services import RELEASE_DAY, image


@operation(EKSResponse)
def create_nodegroup(call: Call) -> dict[str, Any]:
    """As asked for: moto invents remote access, a version and a disk, and makes no instance."""
    cluster, given = cluster_of(call), call.params
    defaults = {
        "ami_type": "AL2023_x86_64_STANDARD",
        **{"labels": {}, "taints": [], "tags": {}},
        "version": cluster.version,
        "release_version": f"{cluster.version}.0-{RELEASE_DAY}",
    }
    create = call.backend("eks").create_nodegroup
    known = signature(create).parameters.keys() - {"remote_access"}
    asked = {xform_name(name): deepcopy(value) for name, value in given.items()}
    group = create(**defaults | {name: asked[name] for name in asked.keys() & known})
    group.remote_access = given.get("remoteAccess")
    group.update_config = given.get("updateConfig", {"maxUnavailable": 1})
    group.disk_size = None if group.launch_template else group.disk_size
    if group.node_role not in cluster.access_entries:
        let_in(call, cluster, group.node_role, "EC2_LINUX")
    _scale_out(call, group)
    return {"nodegroup": group}


@operation(EKSResponse)
def delete_nodegroup(call: Call) -> dict[str, Any]:
    """What EKS made for the group goes with it."""
    cluster, name = cluster_of(call), call.params["nodegroupName"]
    group = cluster.nodegroups.get(name)
    if group is None:
        raise Refusal("ResourceNotFoundException", f"No node group found for name: {name}.")
    call.backend("autoscaling").delete_auto_scaling_group(_name(group))
    call.backend("ec2").delete_launch_template(f"eks-{group.uuid}", None)
    return {"nodegroup": call.backend("eks").delete_nodegroup(cluster.name, name)}


def _name(group: Any) -> str:
    return f"eks-{group.nodegroup_name}-{group.uuid}"


def _scale_out(call: Call, group: Any) -> None:
    group.resources = {"autoScalingGroups": [{"name": _name(group)}]}
    ec2 = call.backend("ec2")
    template = ec2.create_launch_template(f"eks-{group.uuid}", "", _template(call, group), {})
    tags = {
        "eks:cluster-name": group.cluster_name,
        "eks:nodegroup-name": group.nodegroup_name,
        f"kubernetes.io/cluster/{group.cluster_name}": "owned",
        "k8s.io/cluster-autoscaler/enabled": "true",
        f"k8s.io/cluster-autoscaler/{group.cluster_name}": "owned",
    }
    share = "0" if group.capacity_type == "SPOT" else "100"
    call.backend("autoscaling").create_auto_scaling_group(
        name=_name(group),
        availability_zones=[],
        desired_capacity=group.scaling_config["desiredSize"],
        max_size=group.scaling_config["maxSize"],
        min_size=group.scaling_config["minSize"],
        launch_config_name="",
        launch_template={},
        vpc_zone_identifier=",".join(group.subnets),
        default_cooldown=None,
        health_check_period=15,
        health_check_type="EC2",
        load_balancers=[],
        target_group_arns=[],
        placement_group=None,
        termination_policies=[],
        tags=[{"Key": k, "Value": v, "PropagateAtLaunch": True} for k, v in tags.items()],
        capacity_rebalance=True,
        mixed_instances_policy={
            "LaunchTemplate": {
                "LaunchTemplateSpecification": {"LaunchTemplateId": template.id, "Version": "1"},
                "Overrides": [{"InstanceType": kind} for kind in group.instance_types],
            },
            "InstancesDistribution": {"OnDemandPercentageAboveBaseCapacity": share},
        },
    )


def _template(call: Call, group: Any) -> dict[str, Any]:
    """The user's launch template, where there is one, with what EKS adds."""
    ec2, own = call.backend("ec2"), group.launch_template
    given = ec2.get_launch_template(own["id"]).get_version(own["version"]).data if own else {}
    variant = "nvidia" if group.ami_type.endswith("NVIDIA") else "standard"
    return {
        "ImageId": image(call.region, group.version, "x86_64", variant),
        "InstanceType": group.instance_types[0],
        **given,
    }
