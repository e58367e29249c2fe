"""Systems Manager: the public parameters that name the images of EKS nodes."""

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Any

from moto.ssm.responses import SimpleSystemManagerResponse

from helpers.rehearsal.moto_extension import Call, add
from helpers.rehearsal.world import VERSIONS

# docs.aws.amazon.com/eks/latest/userguide/retrieve-ami-id.html
_PATH = re.compile(
    r"^/aws/service/eks/optimized-ami/(?P<version>[\d.]+)/amazon-linux-2023"
    r"/(?P<arch>x86_64|arm64)/(?P<variant>standard|nvidia|neuron)/recommended"
    r"(?P<leaf>|/image_id|/image_name|/release_version)$"
)
RELEASE_DAY = "20261101"


def get_parameter(call: Call) -> dict[str, Any] | None:
    """A public parameter of EKS; every other is moto's."""
    found = _parameter(call, call.params["Name"])
    return {"Parameter": found} if found else None


def get_parameters(call: Call) -> dict[str, Any] | None:
    """Several at once, where all of them are EKS's."""
    names = call.params["Names"]
    found = [one for name in names if (one := _parameter(call, name))]
    return {"Parameters": found, "InvalidParameters": []} if len(found) == len(names) else None


def image(region: str, version: str, architecture: str, variant: str) -> str:
    """The image of such a node: the same at each asking."""
    text = "/".join((region, version, architecture, variant))
    return f"ami-0{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _parameter(call: Call, name: str) -> dict[str, Any] | None:
    match = _PATH.match(name)
    if match is None or match["version"] not in VERSIONS:
        return None
    version, variant = match["version"], match["variant"]
    facts = {
        "image_id": image(call.region, version, match["arch"], variant),
        "image_name": f"amazon-eks-node-al2023-{match['arch']}-{variant}-{version}-v{RELEASE_DAY}",
        "release_version": f"{version}.0-{RELEASE_DAY}",
    }
    leaf = match["leaf"].removeprefix("/")
    return {
        "Name": name,
        "Type": "String",
        "Value": facts[leaf] if leaf else json.dumps({"schema_version": "2", **facts}),
        "Version": 1,
        "LastModifiedDate": datetime(2026, 11, 1, tzinfo=UTC),
        "ARN": f"arn:aws:ssm:{call.region}::parameter{name}",
        "DataType": "text",
    }


def install() -> None:
    """Add the operations to moto."""
    add(
        SimpleSystemManagerResponse,
        {"GetParameter": get_parameter, "GetParameters": get_parameters},
    )
