"""EKS: which versions of Kubernetes there are, and how long each is supported."""

from datetime import UTC, date, datetime
from typing import Any

from helpers.rehearsal.double.call import Call, Operations

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


OPERATIONS: Operations = {"DescribeClusterVersions": describe_cluster_versions}
