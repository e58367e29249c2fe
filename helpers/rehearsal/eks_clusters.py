"""EKS: clusters as AWS shows them, who may enter them, updates, versions in support."""

import hashlib
from contextlib import suppress
from datetime import UTC, datetime, time
from typing import Any
from uuid import uuid4

from moto.ec2.exceptions import DependencyViolationError
from moto.eks import urls
from moto.eks.responses import EKSResponse

from helpers.rehearsal.moto_extension import ACCOUNT_ID, Call, Refusal, operation
from helpers.rehearsal.world import DEFAULT_VERSION, VERSIONS, WORLD

PLATFORM = "eks.20"
LOG_TYPES = ("api", "audit", "authenticator", "controllerManager", "scheduler")

# moto routes a few paths of the API; its dispatch knows all of them from botocore's model
urls.url_paths["{0}/(?P<rest>.+)$"] = urls.response.dispatch


@operation(EKSResponse)
def create_cluster(call: Call) -> dict[str, Any]:
    """Moto keeps what it knows of the request; AWS fills in a good deal more."""
    given = call.params
    version = given.get("version", DEFAULT_VERSION)
    if version not in VERSIONS:
        message = f"unsupported Kubernetes version {version}"
        raise Refusal("InvalidParameterException", message)
    network = {"serviceIpv4Cidr": "172.20.0.0/16", "ipFamily": "ipv4"}
    cluster = call.backend("eks").create_cluster(
        name=given["name"],
        version=version,
        role_arn=given["roleArn"],
        resources_vpc_config={**given["resourcesVpcConfig"]},
        kubernetes_network_config=network | given.get("kubernetesNetworkConfig", {}),
        tags=dict(given.get("tags", {})),
        encryption_config=given.get("encryptionConfig"),
    )
    unique = hashlib.sha256(f"{cluster.arn}{cluster.created_at}".encode()).hexdigest()[:32].upper()
    issuer = f"https://oidc.eks.{call.region}.amazonaws.com/id/{unique}"
    cluster.identity = {"oidc": {"issuer": issuer}}
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
    cluster.logging = {"clusterLogging": [{"types": list(LOG_TYPES), "enabled": False}]}
    cluster.access_entries = {}
    cluster.resources_vpc_config = {
        "endpointPublicAccess": True,
        "endpointPrivateAccess": False,
        "publicAccessCidrs": ["0.0.0.0/0"],
        **cluster.resources_vpc_config,
        **_network(call, cluster, f"eks-cluster-sg-{cluster.name}-{unique[:10].lower()}"),
    }
    if cluster.access_config["bootstrapClusterCreatorAdminPermissions"]:
        let_in(call, cluster, WORLD.caller, "STANDARD")
    return {"cluster": cluster}


def _network(call: Call, cluster: Any, name: str) -> dict[str, str]:
    """The VPC of the subnets, and the security group that EKS makes for the control plane."""
    ec2 = call.backend("ec2")
    vpc = ec2.get_subnet(cluster.resources_vpc_config["subnetIds"][0]).vpc_id
    group = ec2.create_security_group(
        name,
        "EKS created security group applied to ENI that is attached to EKS Control Plane",
        vpc_id=vpc,
        tags={
            "Name": name,
            f"kubernetes.io/cluster/{cluster.name}": "owned",
            "aws:eks:cluster-name": cluster.name,
        },
    )
    return {"vpcId": vpc, "clusterSecurityGroupId": group.id}


@operation(EKSResponse)
def delete_cluster(call: Call) -> dict[str, Any]:
    """EKS removes its security group with the cluster; one that is used still is left behind."""
    cluster = cluster_of(call)
    if cluster.nodegroups:
        raise Refusal("ResourceInUseException", "Cluster has nodegroups attached")
    gone = call.backend("eks").delete_cluster(cluster.name)
    group = gone.resources_vpc_config["clusterSecurityGroupId"]
    with suppress(DependencyViolationError):  # github.com/aws/aws-k8s-tester/pull/416
        call.backend("ec2").delete_security_group(group_id=group)
    return {"cluster": gone}


@operation(EKSResponse)
def describe_cluster_versions(call: Call) -> dict[str, Any]:
    """The versions there are, newest first, and how long each is supported."""
    wanted = call.params.get("clusterVersions") or VERSIONS
    return {"clusterVersions": [_version(name) for name in reversed(VERSIONS) if name in wanted]}


def _version(name: str) -> dict[str, Any]:
    standard = datetime.combine(VERSIONS[name], time(), tzinfo=UTC)
    support = "STANDARD_SUPPORT" if datetime.now(UTC) < standard else "EXTENDED_SUPPORT"
    return {
        "clusterVersion": name,
        "defaultVersion": name == DEFAULT_VERSION,
        "endOfStandardSupportDate": standard,
        "versionStatus": support,
    }


@operation(EKSResponse)
def create_access_entry(call: Call) -> dict[str, Any]:
    """A new entry; a principal has one at most."""
    cluster, given = cluster_of(call), call.params
    if given["principalArn"] in cluster.access_entries:
        message = "The specified access entry resource is already in use on this cluster."
        raise Refusal("ResourceInUseException", message)
    entry = let_in(call, cluster, given["principalArn"], given.get("type", "STANDARD"))
    chosen = ("kubernetesGroups", "username", "tags")
    entry |= {name: given[name] for name in chosen if given.get(name)}
    return {"accessEntry": entry}


@operation(EKSResponse)
def describe_access_entry(call: Call) -> dict[str, Any]:
    """One entry."""
    return {"accessEntry": _entry(call)}


@operation(EKSResponse)
def delete_access_entry(call: Call) -> dict[str, Any]:
    """The principal is out."""
    del cluster_of(call).access_entries[_entry(call)["principalArn"]]
    return {}


def let_in(call: Call, cluster: Any, principal: str, kind: str) -> dict[str, Any]:
    """Let a principal into a cluster, with the defaults that AWS takes for its kind."""
    kind_of_principal, name = principal.rsplit(":", 1)[1].split("/", 1)
    path = f"{cluster.name}/{kind_of_principal}/{ACCOUNT_ID}/{name}/{uuid4()}"
    of_nodes = kind != "STANDARD"
    entry = cluster.access_entries[principal] = {
        "clusterName": cluster.name,
        "principalArn": principal,
        "kubernetesGroups": ["system:nodes"] * of_nodes,
        "accessEntryArn": f"arn:aws:eks:{call.region}:{ACCOUNT_ID}:access-entry/{path}",
        "createdAt": datetime.now(UTC),
        "modifiedAt": datetime.now(UTC),
        "tags": {},
        "username": "system:node:{{EC2PrivateDNSName}}" if of_nodes else principal,
        "type": kind,
    }
    return entry


def _entry(call: Call) -> dict[str, Any]:
    principal = call.params["principalArn"]
    entry: dict[str, Any] | None = cluster_of(call).access_entries.get(principal)
    if entry is None:
        message = f"The specified principalArn could not be found: {principal}."
        raise Refusal("ResourceNotFoundException", message)
    return entry


def cluster_of(call: Call) -> Any:
    """Moto's cluster of the name that the call gives; refuses another name."""
    name = call.params.get("name") or call.params.get("clusterName")
    cluster = call.backend("eks").clusters.get(name)
    if cluster is None:
        raise Refusal("ResourceNotFoundException", f"No cluster found for name: {name}.")
    return cluster
