"""EKS: clusters and node groups as AWS shows them, updates, versions in support."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from moto.eks import urls
from moto.eks.responses import EKSResponse

from helpers.rehearsal import eks_access
from helpers.rehearsal.eks_node_groups import update
from helpers.rehearsal.moto_extension import Call, Operations, Refusal, add
from helpers.rehearsal.world import DEFAULT_VERSION, VERSIONS, WORLD

PLATFORM = "eks.20"
LOG_TYPES = ("api", "audit", "authenticator", "controllerManager", "scheduler")


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
        eks_access.put(call, cluster, WORLD.caller, "STANDARD")
        eks_access.make_admin(cluster, WORLD.caller)
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
    cluster.zonal_shift_config = given.get("zonalShiftConfig")
    cluster.deletion_protection = given.get("deletionProtection", False)
    cluster.logging = _logging(given.get("logging", {}))
    cluster.access_entries, cluster.access_policies = {}, {}
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
        raise Refusal("ResourceInUseException", "Cluster has nodegroups attached")
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
    return update("EndpointAccessUpdate")


def describe_update(call: Call) -> dict[str, Any]:
    """Every update has succeeded by the time that somebody asks."""
    eks_access.cluster_of(call)
    found = update("EndpointAccessUpdate")
    found["update"]["id"] = call.params["updateId"]
    return found


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


OPERATIONS: Operations = {
    "CreateCluster": create_cluster,
    "DeleteCluster": delete_cluster,
    "UpdateClusterConfig": update_cluster_config,
    "DescribeUpdate": describe_update,
    "DescribeClusterVersions": describe_cluster_versions,
}


def install() -> None:
    """Add the operations to moto."""
    # moto routes a few paths of the API; its dispatch knows all of them from botocore's model
    urls.url_paths["{0}/(?P<rest>.+)$"] = urls.response.dispatch
    add(EKSResponse, OPERATIONS)
