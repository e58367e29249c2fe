"""What stands in the cluster before Triton's chart: read from the lock file of releases."""

from typing import Any

import yaml

from helpers.cluster.rules.scope import Around
from helpers.errors import Problem
from helpers.paths import ROOT

RELEASES = ROOT / "k8s" / "releases.yaml"
VALUES = ROOT / "k8s" / "values"
ADAPTER = "prometheus-adapter"


def before(release: str) -> Around:
    """What the releases that are installed before `release` bring.

    Raises:
        Problem: The lock file cannot be read, or it has no such release.
    """
    releases = _read(RELEASES)["releases"]
    names = [one["name"] for one in releases]
    if release not in names:
        raise Problem(f"{RELEASES.name} has no release '{release}'.")
    earlier = releases[: names.index(release)]
    return Around(
        crd_groups={
            wait["name"].partition(".")[2]: one["name"]
            for one in earlier
            for wait in one.get("waits", [])
            if wait["kind"] == "CustomResourceDefinition"
        },
        pod_metrics=_pod_metrics() if ADAPTER in names[: names.index(release)] else frozenset(),
    )


def _pod_metrics() -> frozenset[str]:
    """Names under which prometheus-adapter offers metrics of pods."""
    rules = _read(VALUES / f"{ADAPTER}.yaml").get("rules", {}).get("custom", [])
    return frozenset(one["name"]["as"] for one in rules if "as" in one.get("name", {}))


def _read(path: Any) -> Any:
    try:
        return yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise Problem(f"{path.name} cannot be read: {error}.") from error
