"""A scripted API server for each test, and a cluster that is reached as EKS is."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from helpers.cloud.account import Account
from helpers.cloud.stack import Stack
from helpers.cluster import client, contract, kubeconfig
from helpers.cluster.client import Cluster
from helpers.profile import Profile
from helpers.run import Run
from tests import emulated

from . import api_server, scenes
from .api_server import Server


@pytest.fixture(autouse=True)
def fixed_token(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubeconfigs with a fixed token: one that is signed costs each call of Helm seconds."""
    signed = kubeconfig.write

    def write(folder: Path, account: Account, cluster: Stack) -> Path:
        path = signed(folder, account, cluster)
        document = yaml.safe_load(path.read_text())
        document["users"][0]["user"] = {"token": "fixed"}
        path.write_text(yaml.safe_dump(document))
        return path

    monkeypatch.setattr(kubeconfig, "write", write)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """An API server that has the namespaces of the contract, and nothing in them."""
    with api_server.serving(tmp_path / "tls") as api:
        api.put(*map(scenes.namespace, ("triton", "kube-system", "monitoring")))
        yield api


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Account:
    """An account whose keys sign tokens and open nothing."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "nothing")
    return Account("us-east-1")


@pytest.fixture
def cluster(server: Server, account: Account, tmp_path: Path) -> Cluster:
    return client.stack_cluster(tmp_path / "access", account, server.eks())


@pytest.fixture
def aws() -> Iterator[Account]:
    """An emulated account, empty."""
    with emulated.installed() as world:
        yield world.account


@pytest.fixture
def stack(aws: Account, server: Server) -> Stack:
    """A stack of which network, names and the cluster's API are real."""
    ec2 = aws.client("ec2")
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnets = tuple(
        ec2.create_subnet(
            VpcId=vpc, CidrBlock=f"10.0.{number}.0/24", AvailabilityZone=f"us-east-1{zone}"
        )["Subnet"]["SubnetId"]
        for number, zone in enumerate("ab")
    )
    facts = {"vpc_id": vpc, "public_subnet_ids": subnets, "gpu_asg_name": "gpu-e2e-gpu",
             "stack_name": "gpu-e2e", "gpu_max_price": 0.3,
             "gpu_instance_types": contract.load().gpu.instance_types}  # fmt: skip
    return server.eks().model_copy(update=facts)


@pytest.fixture
def hasty(tmp_path: Path) -> Run:
    """A run that gives up waiting at once: for what never happens."""
    return _run(tmp_path, 0.05)


@pytest.fixture
def patient(tmp_path: Path) -> Run:
    """A run that waits as long as a test may take: for what does happen."""
    return _run(tmp_path, 60)


def _run(folder: Path, seconds: float) -> Run:
    names = ("nodes", "gpu", "release", "rollout", "balancer", "scan")
    waits = ",".join(f"cluster.{name}_s={seconds}" for name in names)
    profile = Profile.load_named("quick", f"{waits},cluster.poll_s=0.05")
    return Run.create(profile, folder / "outputs")
