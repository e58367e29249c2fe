"""EKS: clusters and node groups as AWS shows them, updates, versions in support."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

from helpers.rehearsal.double import eks_access
from helpers.rehearsal.double.call import Call, Operations, Refusal

LOG_TYPES = ("api", "audit", "authenticator", "controllerManager", "scheduler")
PLATFORM = "eks.20"
# Minor version: release, end of standard support, end of extended support; read on 2026-11-24 in
# docs.aws.amazon.com/eks/latest/userguide/kubernetes-versions.html and endoflife.date/amazon-eks.
VERSIONS = {
    "1.32": (date(2025, 1, 25), date(2026, 3, 23), date(2027, 3, 23)),
    "1.33": (date(2025, 5, 28), date(2026, 7, 29), date(2027, 7, 29)),
    "1.34": (date(2025, 10, 6), date(2026, 12, 2), date(2027, 12, 2)),
    "1.35": (date(2026, 1, 27), date(2027, 3, 27), date(2028, 3, 27)),
}
DEFAULT_VERSION = "1.35"


def create_cluster(call: Call) -> dict[str, Any]:
    """Moto keeps what it knows of the request; AWS fills in a good deal more."""
    given = call.params
    version = given.get("version", DEFAULT_VERSION)
    if version not in VERSIONS:
        message = f"unsupported Kubernetes version {version}"
        raise Refusal("InvalidParameterException", message)
    cluster = call.backend("eks").create_cluster(
        name=given["name"],
        version=version,
        role_arn=given["roleArn"],
        resources_vpc_config={**given["resourcesVpcConfig"]},
        kubernetes_network_config={
            "serviceIpv4Cidr": "172.20.0.0/16",
            "ipFamily": "ipv4",
            **given.get("kubernetesNetworkConfig", {}),
        },
        tags=dict(given.get("tags", {})),
        encryption_config=given.get("encryptionConfig"),
    )
    _fill_in(call, cluster)
    if cluster.access_config["bootstrapClusterCreatorAdminPermissions"]:
        eks_access.put(call, cluster, call.world.caller, "STANDARD")
        eks_access.make_admin(cluster, call.world.caller)
    return {"cluster": cluster}


def _fill_in(call: Call, cluster: Any) -> None:
    given = call.params
    unique = hashlib.sha256(f"{cluster.arn}{cluster.created_at}".encode()).hexdigest()[:32].upper()
    cluster.identity = {
        "oidc": {"issuer": f"https://oidc.eks.{call.region}.amazonaws.com/id/{unique}"}
    }
    cluster.endpoint = f"https://{unique}.gr7.{call.region}.eks.amazonaws.com"
    cluster.platform_version = PLATFORM
    cluster.access_config = {
        "bootstrapClusterCreatorAdminPermissions": True,
        "authenticationMode": "CONFIG_MAP",
        **given.get("accessConfig", {}),
    }
    cluster.upgrade_policy = given.get("upgradePolicy", {"supportType": "EXTENDED"})
    cluster.zonal_shift_config = given.get("zonalShiftConfig", {"enabled": False})
    cluster.deletion_protection = given.get("deletionProtection", False)
    cluster.logging = _logging(given.get("logging", {}))
    cluster.access_entries = {}
    cluster.resources_vpc_config = {
        "endpointPublicAccess": True,
        "endpointPrivateAccess": False,
        "publicAccessCidrs": ["0.0.0.0/0"],
        **cluster.resources_vpc_config,
        **_network(call, cluster, unique),
    }


def _network(call: Call, cluster: Any, unique: str) -> dict[str, str]:
    """The VPC of the subnets, and the security group that EKS makes for the control plane."""
    ec2 = call.backend("ec2")
    vpc = ec2.get_subnet(cluster.resources_vpc_config["subnetIds"][0]).vpc_id
    group = ec2.create_security_group(
        f"eks-cluster-sg-{cluster.name}-{unique[:10].lower()}",
        "EKS created security group applied to ENI that is attached to EKS Control Plane",
        vpc_id=vpc,
        tags={
            "Name": f"eks-cluster-sg-{cluster.name}-{unique[:10].lower()}",
            f"kubernetes.io/cluster/{cluster.name}": "owned",
            "aws:eks:cluster-name": cluster.name,
        },
    )
    return {"vpcId": vpc, "clusterSecurityGroupId": group.id}


def _logging(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """AWS always answers with a list of what is on and a list of what is off."""
    setups = wanted.get("clusterLogging", [])
    on = [kind for one in setups if one.get("enabled") for kind in one.get("types", [])]
    lists = {True: on, False: [kind for kind in LOG_TYPES if kind not in on]}
    return {"clusterLogging": [{"types": t, "enabled": e} for e, t in lists.items() if t]}


def delete_cluster(call: Call) -> dict[str, Any]:
    """EKS removes its security group with the cluster."""
    cluster = eks_access.cluster_of(call)
    if cluster.nodegroups:
        raise Refusal("ResourceInUseException", "Cluster has nodegroups attached", 409)
    gone = call.backend("eks").delete_cluster(cluster.name)
    group = gone.resources_vpc_config["clusterSecurityGroupId"]
    call.backend("ec2").delete_security_group(group_id=group)
    return {"cluster": gone}


def update_cluster_config(call: Call) -> dict[str, Any]:
    """AWS answers with an update, and merges what is given into what was there."""
    cluster, given = eks_access.cluster_of(call), call.params
    cluster.resources_vpc_config |= given.get("resourcesVpcConfig", {})
    cluster.access_config |= given.get("accessConfig", {})
    cluster.upgrade_policy = given.get("upgradePolicy", cluster.upgrade_policy)
    if "logging" in given:
        cluster.logging = _logging(given["logging"])
    return _update("EndpointAccessUpdate")


def update_cluster_version(call: Call) -> dict[str, Any]:
    """The control plane's next version, at once."""
    eks_access.cluster_of(call).version = call.params["version"]
    return _update("VersionUpdate")


def describe_update(call: Call) -> dict[str, Any]:
    """Every update has succeeded by the time that somebody asks."""
    eks_access.cluster_of(call)
    update = _update("EndpointAccessUpdate")
    update["update"]["id"] = call.params["updateId"]
    return update


def _update(kind: str) -> dict[str, Any]:
    return {
        "update": {
            "id": str(uuid4()),
            "status": "Successful",
            "type": kind,
            "params": [],
            "createdAt": datetime.now(UTC),
            "errors": [],
        }
    }


def create_nodegroup(call: Call) -> dict[str, Any]:
    """As asked for: moto invents remote access, a version and a disk."""
    cluster, given = eks_access.cluster_of(call), call.params
    group = call.backend("eks").create_nodegroup(
        cluster_name=cluster.name,
        nodegroup_name=given["nodegroupName"],
        node_role=given["nodeRole"],
        subnets=given["subnets"],
        scaling_config=given.get("scalingConfig"),
        disk_size=given.get("diskSize"),
        instance_types=given.get("instanceTypes"),
        ami_type=given.get("amiType", "AL2023_x86_64_STANDARD"),
        labels=dict(given.get("labels", {})),
        taints=list(given.get("taints", [])),
        tags=dict(given.get("tags", {})),
        launch_template=dict(given["launchTemplate"]) if "launchTemplate" in given else None,
        capacity_type=given.get("capacityType"),
        version=given.get("version", cluster.version),
        release_version=given.get("releaseVersion", f"{cluster.version}.0-20261101"),
    )
    group.remote_access = given.get("remoteAccess")
    group.update_config = given.get("updateConfig", {"maxUnavailable": 1})
    group.resources = {"autoScalingGroups": [{"name": f"eks-{group.nodegroup_name}-{group.uuid}"}]}
    if group.launch_template:
        group.disk_size = None
    if group.node_role not in cluster.access_entries:
        eks_access.put(call, cluster, group.node_role, "EC2_LINUX")
    return {"nodegroup": group}


def describe_cluster_versions(call: Call) -> dict[str, Any]:
    """The versions there are, newest first, and how long each is supported."""
    given = call.params
    wanted = given.get("clusterVersions") or VERSIONS
    rows = [_version(name) for name in reversed(VERSIONS) if name in wanted]
    if given.get("defaultOnly"):
        rows = [row for row in rows if row["defaultVersion"]]
    if status := given.get("versionStatus"):
        rows = [row for row in rows if row["versionStatus"] == status]
    return {"clusterVersions": rows}


def _version(name: str) -> dict[str, Any]:
    release, standard, extended = VERSIONS[name]
    supported = datetime.now(UTC).date() < standard
    return {
        "clusterVersion": name,
        "clusterType": "eks",
        "defaultPlatformVersion": PLATFORM,
        "defaultVersion": name == DEFAULT_VERSION,
        "releaseDate": _midnight(release),
        "endOfStandardSupportDate": _midnight(standard),
        "endOfExtendedSupportDate": _midnight(extended),
        "status": "standard-support" if supported else "extended-support",
        "versionStatus": "STANDARD_SUPPORT" if supported else "EXTENDED_SUPPORT",
        "kubernetesPatchVersion": f"{name}.0",
    }


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def list_nothing(key: str) -> Any:
    """An operation that lists what the double never holds."""

    def operation(call: Call) -> dict[str, Any]:
        eks_access.cluster_of(call)
        return {key: []}

    return operation


OPERATIONS: Operations = {
    "CreateCluster": create_cluster,
    "DeleteCluster": delete_cluster,
    "UpdateClusterConfig": update_cluster_config,
    "UpdateClusterVersion": update_cluster_version,
    "DescribeUpdate": describe_update,
    "CreateNodegroup": create_nodegroup,
    "DescribeClusterVersions": describe_cluster_versions,
    "ListAddons": list_nothing("addons"),
    "ListPodIdentityAssociations": list_nothing("associations"),
    "ListIdentityProviderConfigs": list_nothing("identityProviderConfigs"),
}
