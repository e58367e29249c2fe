"""A kubeconfig for the run's EKS cluster; tokens are made with boto3, without the AWS CLI.

The file holds no secret: Helm and kubectl run this module to get a token (`python -m
helpers.cluster.kubeconfig`), as they would run `aws eks get-token`.
"""

import base64
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from helpers.cloud.account import Account, asking
from helpers.errors import Problem

if TYPE_CHECKING:  # slow to import, and a token does not need it
    from helpers.cloud.stack import Stack

PREFIX = "k8s-aws-v1."
CLUSTER_HEADER = "x-k8s-aws-id"
API = "client.authentication.k8s.io/v1"
# aws-iam-authenticator takes a presigned URL for 15 minutes after its signature; one minute less
# leaves room for clocks that differ. X-Amz-Expires may be 60 seconds at most there.
URL_LIFETIME_S = 60
TOKEN_LIFETIME = timedelta(minutes=14)
USER = "run"


@dataclass(frozen=True)
class Token:
    """A bearer token for the cluster's API, and when it expires, UTC."""

    value: str = field(repr=False)
    expires: datetime

    def is_valid(self, margin_s: float = 60.0) -> bool:
        """Whether it is valid for that many seconds more."""
        return datetime.now(UTC) + timedelta(seconds=margin_s) < self.expires


def token(account: Account, cluster: str) -> Token:
    """A token for an EKS cluster: a presigned GetCallerIdentity request that names it."""
    made = datetime.now(UTC)
    with asking("a token for the cluster"):
        sts = account.client("sts")
        sts.meta.events.register(
            "before-sign.sts.GetCallerIdentity",
            lambda request, **_: request.headers.add_header(CLUSTER_HEADER, cluster),
        )
        url: str = sts.generate_presigned_url(
            "get_caller_identity", ExpiresIn=URL_LIFETIME_S, HttpMethod="GET"
        )
    encoded = base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")
    return Token(PREFIX + encoded, made + TOKEN_LIFETIME)


def write(folder: Path, account: Account, stack: "Stack") -> Path:
    """Write the file `kubeconfig` into a folder, readable by this user only; its path.

    Its one context has the cluster's name.
    """
    name = stack.cluster_name
    variables = account.environment | {"GPU_E2E_ENDPOINT": account.endpoint}
    plugin = {
        "apiVersion": API, "command": sys.executable, "interactiveMode": "Never",
        "args": ["-m", "helpers.cluster.kubeconfig", account.region, name],
        "env": [{"name": key, "value": value} for key, value in sorted(variables.items())],
        "provideClusterInfo": False,
    }  # fmt: skip
    place = {"server": stack.cluster_endpoint,
             "certificate-authority-data": stack.cluster_certificate_authority}  # fmt: skip
    document = {
        "apiVersion": "v1", "kind": "Config", "current-context": name,
        "clusters": [{"name": name, "cluster": place}],
        "users": [{"name": USER, "user": {"exec": plugin}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": USER}}],
    }  # fmt: skip
    path = folder / "kubeconfig"
    folder.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(0o600, exist_ok=False)
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def main(arguments: Sequence[str]) -> int:
    """Print a token as an ExecCredential; 1 and one sentence where there is none.

    The arguments are region and cluster.
    """
    region, cluster = arguments
    try:
        made = token(Account(region, os.environ.get("GPU_E2E_ENDPOINT", "")), cluster)
    except Problem as problem:
        print(problem, file=sys.stderr)
        return 1
    expires = made.expires.strftime("%Y-%m-%dT%H:%M:%SZ")
    status = {"token": made.value, "expirationTimestamp": expires}
    print(json.dumps({"apiVersion": API, "kind": "ExecCredential", "status": status}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
