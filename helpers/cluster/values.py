"""Values of a release: its file in `k8s/values`, filled from contract, stack and image."""

from pathlib import Path
from typing import Any

import yaml

from helpers.cloud.account import Account, asking
from helpers.cloud.reports import Stack
from helpers.cluster import contract, lock
from helpers.cluster.contract import CONTRACT
from helpers.cluster.lock import K8S, Release
from helpers.errors import Problem
from helpers.run import Run

FOLDER = "cluster/values"


def facts(run: Run, account: Account, image: str = "") -> dict[str, Any]:
    """What the values files may ask for.

    Args:
        run: Whose stack stands.
        account: Where it stands; asked for the VPC's addresses.
        image: Triton's image as `repository@sha256:…`; empty where there is none yet.

    Returns:
        `contract` (the file), `outputs` (the stack's), `models` (names), `max_replicas`, and
        `image` (`repository`, `digest`) where there is one.

    Raises:
        Problem: The stack is not applied, or AWS refuses.
    """
    stack = run.load(Stack)
    outputs = stack.model_dump(mode="json") | {
        "name": stack.stack_name,
        "vpc_cidr": _vpc_cidr(account, stack.vpc_id),
    }
    per_node = contract.load().gpu.per_node // contract.load().gpu.per_pod
    found: dict[str, Any] = {
        "contract": yaml.safe_load(CONTRACT.read_text()),
        "outputs": outputs,
        "models": [one.name for one in run.profile.model.networks],
        "max_replicas": run.profile.infrastructure.gpu.max_nodes * per_node,
    }
    return found | ({"image": image_parts(image)} if image else {})


def image_parts(reference: str) -> dict[str, str]:
    """Repository and digest of an image.

    Raises:
        Problem: It is not named by digest.
    """
    repository, at, digest = reference.partition("@")
    if not at or not digest.startswith("sha256:"):
        raise Problem(
            f"The image '{reference}' is not named by its digest.",
            "Deploy what stage 03 pushed; a tag can be moved.",
        )
    return {"repository": repository, "digest": digest}


def write(run: Run, release: Release, known: dict[str, Any]) -> list[Path]:
    """Write a release's values into the run; the files in the order that Helm takes them.

    Our own charts get the contract first.

    Raises:
        Problem: The file asks for something that is not known, or is not valid YAML.
    """
    source = K8S / "values" / f"{release.name}.yaml"
    text = lock.fill(source, known)
    try:
        yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Problem(f"{source.name} is not valid once filled: {error}.") from error
    path = run.write(f"{FOLDER}/{release.name}.yaml", text)
    return [CONTRACT, path] if release.own else [path]


def _vpc_cidr(account: Account, vpc: str) -> str:
    with asking("the VPC's addresses"):
        found = account.client("ec2").describe_vpcs(VpcIds=[vpc])["Vpcs"]
    return str(found[0]["CidrBlock"])
