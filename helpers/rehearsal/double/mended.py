"""Where moto answers otherwise than AWS, in its own classes."""

import functools
import json
import os
from importlib import metadata
from typing import Any

from moto.ec2.models.launch_templates import LaunchTemplate
from moto.s3.models import FakeBucket

from helpers.errors import Problem
from helpers.rehearsal.double import autoscaling, interfaces

MOTO = "5.2.5"  # the version whose insides are known here
# Read by moto when it first needs them.
SETTINGS = {
    "MOTO_ACM_VALIDATION_WAIT": "0",  # a certificate is validated at once
}

_create_version = LaunchTemplate.create_version
_get_permission = FakeBucket.get_permission


@functools.cache
def mend() -> None:
    """Mend moto, once in a process.

    Raises:
        Problem: It is another moto than the one whose insides are known here.
    """
    if (found := metadata.version("moto")) != MOTO:
        raise Problem(
            f"moto {found} is installed, but the AWS emulator extends the insides of {MOTO}.",
            "Run 'make setup', which installs the pinned one.",
        )
    os.environ.update(SETTINGS)
    autoscaling.mend()
    interfaces.mend()
    template: Any = LaunchTemplate
    template.create_version = create_version
    bucket: Any = FakeBucket
    bucket.get_permission = get_permission


def create_version(template: Any, data: dict[str, Any], description: str) -> Any:
    """Moto copies the template's own tags into its data; Terraform sees a change in that."""
    every = data.get("TagSpecifications") or []
    kept = [one for one in every if one.get("ResourceType") != "launch-template"]
    others = {key: value for key, value in data.items() if key != "TagSpecifications"}
    return _create_version(
        template, others | ({"TagSpecifications": kept} if kept else {}), description
    )


def get_permission(bucket: Any, action: str, resource: str) -> Any:
    """Moto takes a Deny that holds without TLS for one that always holds; the emulator has none."""
    whole = bucket.policy
    if whole is None:
        return _get_permission(bucket, action, resource)
    document = json.loads(whole)
    document["Statement"] = [one for one in document["Statement"] if not _about_tls(one)]
    bucket.policy = json.dumps(document).encode() if document["Statement"] else None
    try:
        return _get_permission(bucket, action, resource)
    finally:
        bucket.policy = whole


def _about_tls(statement: dict[str, Any]) -> bool:
    tests = statement.get("Condition") or {}
    return any("aws:SecureTransport" in test for test in tests.values())
