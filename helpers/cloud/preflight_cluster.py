"""Checks of the cluster to come: its version's support, and whether its name is free."""

from collections.abc import Iterator
from datetime import UTC, datetime

from botocore.exceptions import ClientError

from helpers.cloud.account import asking
from helpers.cloud.question import Question
from helpers.cloud.readiness import Finding, Verdict

SOON_DAYS = 30
STANDARD = "STANDARD_SUPPORT"


def version(question: Question) -> Iterator[Finding]:
    """When the standard support of the version ends: extended support costs six times as much."""
    wanted = question.chosen.kubernetes_version
    pages = question.account.client("eks").get_paginator("describe_cluster_versions")
    with asking("the Kubernetes versions of EKS"):
        known = {
            one["clusterVersion"]: one
            for page in pages.paginate()
            for one in page["clusterVersions"]
        }
    standard = sorted(name for name, one in known.items() if one["versionStatus"] == STANDARD)
    newest = f"-p infrastructure.kubernetes_version={standard[-1]}" if standard else ""
    change = f"workbook run --profile {question.run.profile.name} {newest}".strip()
    found, verdict = f"EKS does not offer {wanted}", Verdict.BLOCKS
    if wanted in standard:
        ends: datetime = known[wanted]["endOfStandardSupportDate"].astimezone(UTC)
        days = (ends - datetime.now(UTC)).days
        found = f"{wanted} in standard support until {ends:%Y-%m-%d} ({days} days)"
        verdict = Verdict.OK if days > SOON_DAYS else Verdict.WARN
    elif wanted in known:
        found = f"{wanted} is out of standard support: $0.60 an hour instead of $0.10"
    look = f"aws eks describe-cluster-versions --cluster-versions {wanted}"
    yield Finding(
        name="version",
        title="Kubernetes version",
        found=found,
        verdict=verdict,
        command=f"{look} --region {question.region}" if verdict is Verdict.OK else change,
    )


def name_is_free(question: Question) -> Iterator[Finding]:
    """Whether a cluster of the stack's name stands already, and whose it is."""
    name = question.chosen.name
    owner = _owner(question, name)
    look = f"aws eks describe-cluster --name {name} --region {question.region}"
    if owner is None:
        found, verdict, command = f"no cluster is called {name}", Verdict.OK, look
    elif owner == question.run.run_id:
        found, verdict, command = "the cluster of this run stands", Verdict.OK, look
    else:
        found, verdict = f"a cluster {name} stands, of run {owner or 'unknown'}", Verdict.BLOCKS
        command = (
            f"workbook resume {owner}"
            if owner
            else f"workbook run --profile {question.run.profile.name} -p infrastructure.name=other"
        )
    yield Finding(
        name="free-name", title="Cluster name", found=found, verdict=verdict, command=command
    )


def _owner(question: Question, name: str) -> str | None:
    """The run that a cluster is tagged with; None where there is no cluster."""
    with asking("the clusters"):
        try:
            found = question.account.client("eks").describe_cluster(name=name)["cluster"]
        except ClientError as error:
            if error.response["Error"]["Code"] == "ResourceNotFoundException":
                return None
            raise
    return str(found.get("tags", {}).get("run", ""))
