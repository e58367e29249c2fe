"""Helm, run against a cluster or alone: errors explained, upstream charts compared by digest."""

import hashlib
import json
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import sh
import yaml

from helpers import programs
from helpers.cluster import explain
from helpers.errors import Problem
from helpers.paths import CACHE
from helpers.processes import MARK

if TYPE_CHECKING:  # the official client takes seconds to import
    from helpers.cluster.client import Cluster
    from helpers.cluster.releases import Release

HOOKS_S = 300
SLACK_S = 60.0  # for Helm's own work beside a hook's
PULL_S = 60.0
QUERY_S = 60.0
DRY_RUN_S = 120.0
HISTORY = 5
PENDING = ("pending-install", "pending-upgrade", "pending-rollback")
CHARTS = CACHE / "charts"
# a folder of archives or unpacked charts, for machines that reach no repository
LOCAL_CHARTS = "GPU_E2E_CHARTS"


class ReleaseState(NamedTuple):
    """What Helm knows of a release: a status such as `deployed`, and the number of revisions."""

    status: str
    revision: int


@dataclass(frozen=True)
class Helm:
    """Helm against one cluster, or against none; its caches are the checkout's own."""

    cluster: "Cluster | None" = None
    mark: str = ""  # mark of the run, carried by its processes

    def __call__(self, what: str, *arguments: str, timeout_s: float = QUERY_S, **facts: str) -> str:
        """Run Helm and return what it prints; `Unavailable` if there is none on this machine.

        `what` (such as `The installation of triton`) and the facts (`release`, `namespace`) are for
        the error message.
        """
        program = sh.Command(str(programs.need("helm")))
        flags = ["--kube-context", self.cluster.context] if self.cluster else []
        if self.cluster and self.cluster.kubeconfig:  # else the user's own
            flags += ["--kubeconfig", self.cluster.kubeconfig]
        homes = {f"HELM_{name}_HOME": str(CACHE / "helm" / name.lower())
                 for name in ("CACHE", "CONFIG", "DATA")}  # fmt: skip
        environment = os.environ | homes | ({MARK: self.mark} if self.mark else {})
        try:
            return str(program(*arguments, *flags, _env=environment, _timeout=timeout_s))
        except sh.TimeoutException as error:
            raise Problem(
                f"{what} was not done within {timeout_s:g} s.",
                "Repeat the step; it explains a release that is stuck in a pending state.",
            ) from error
        except sh.ErrorReturnCode as error:
            text = error.stderr.decode(errors="replace") or error.stdout.decode(errors="replace")
            raise explain.problem(what, text, **facts) from error

    def state(self, release: str, namespace: str) -> ReleaseState | None:
        """What Helm knows of a release; None if there is none."""
        text = self(
            f"Helm's query for {release}",
            *("list", "--namespace", namespace, "--filter", f"^{release}$", "--output", "json"),
            *("--deployed", "--failed", "--pending", "--uninstalling"),
            release=release,
        )
        rows: list[dict[str, Any]] = json.loads(text or "[]")
        return ReleaseState(rows[0]["status"], int(rows[0]["revision"])) if rows else None

    def apply(
        self, release: str, chart: Path, namespace: str, values: Sequence[Path]
    ) -> ReleaseState:
        """Install or upgrade a release; hooks are waited for, pods are not."""
        before = self.state(release, namespace)
        if before and before.status in PENDING:
            raise explain.problem(f"The upgrade of {release}", f"STATUS: {before.status}",
                                  release=release, namespace=namespace)  # fmt: skip
        self(
            f"The {'upgrade' if before else 'installation'} of {release}",
            *("upgrade", release, str(chart), "--install", "--namespace", namespace),
            *("--history-max", str(HISTORY), "--timeout", f"{HOOKS_S}s", *value_flags(values)),
            timeout_s=HOOKS_S + SLACK_S, release=release, namespace=namespace,
        )  # fmt: skip
        after = self.state(release, namespace)
        if after is None or after.status != "deployed":
            raise Problem(f"Helm says {after.status if after else 'nothing'} of {release}.")
        return after

    def remove(self, release: str, namespace: str) -> bool:
        """Uninstall a release; False if there was none."""
        if self.state(release, namespace) is None:
            return False
        arguments = ("uninstall", release, "--namespace", namespace, "--timeout", f"{HOOKS_S}s")
        self(f"The removal of {release}", *arguments, timeout_s=HOOKS_S + SLACK_S,
             release=release, namespace=namespace)  # fmt: skip
        return True

    def template(
        self, release: str, chart: Path, namespace: str, values: Sequence[Path], kubernetes: str
    ) -> str:
        """The objects of a release as YAML, CRDs included; no cluster is asked."""
        return Helm(mark=self.mark)(
            f"The rendering of {release}",
            *("template", release, str(chart), "--namespace", namespace, "--include-crds"),
            *("--kube-version", kubernetes, *value_flags(values)),
            release=release, namespace=namespace,
        )  # fmt: skip


def value_flags(values: Sequence[Path]) -> list[str]:
    """Values files as Helm's arguments."""
    return [f"--values={path}" for path in values]


def server_dry_run(
    cluster: "Cluster", objects: Sequence[Mapping[str, Any]]
) -> tuple[str, list[str]]:
    """Send every object to the API server without storing any: who judged, and each refusal.

    `helm upgrade --dry-run=server` sends the server no object; kubectl does, so that validation and
    admission judge each of them.
    """
    namespaces = {body["metadata"]["name"] for body in cluster.list("namespaces")}
    sent, elsewhere = [], set()
    for body in objects:
        space = body["metadata"].get("namespace")
        if space and space not in namespaces:
            elsewhere.add(space)
            body = {**body, "metadata": {**body["metadata"], "namespace": "default"}}
        sent.append(body)
    done = subprocess.run(
        [*cluster.kubectl(), "apply", "--server-side", "--dry-run=server", "--force-conflicts",
         "--validate=strict", "--field-manager=gpu-e2e-dry-run", "--filename=-"],
        input=yaml.safe_dump_all(sent), capture_output=True, text=True, timeout=DRY_RUN_S,
        check=False,
    )  # fmt: skip
    errors = [line.strip() for line in done.stderr.splitlines()
              if line.strip() and not line.startswith(("Warning:", "ensure CRDs"))]  # fmt: skip
    # the user's own cluster need not have the custom resources of the upstream releases
    unknown = [] if cluster.own else [line for line in errors if "no matches for kind" in line]
    judge = f"the API server of {cluster.name} judged {len(objects) - len(unknown)} objects"
    judge += f"; it has no definition of {len(unknown)} others" if unknown else ""
    judge += f"; in 'default', as it has no {', '.join(sorted(elsewhere))}" if elsewhere else ""
    refusals = [line for line in errors if line not in unknown]
    return judge, refusals or (["kubectl failed"] if done.returncode and not unknown else [])


class Chart(NamedTuple):
    """A chart on this machine."""

    path: Path  # archive or folder
    digest: str  # SHA-256 of the archive; empty for a folder
    compared: str  # the result of comparing its digest, one clause


def fetch_chart(release: "Release") -> Chart:
    """An upstream release's chart: local, cached or pulled now; compared with the lock file."""
    archive = CHARTS / f"{release.chart}-{release.version}.tgz"
    if folder := os.environ.get(LOCAL_CHARTS):
        if (Path(folder) / release.chart).is_dir():
            return Chart(Path(folder) / release.chart, "", "unpacked folder: digest not compared")
        local = Path(folder) / archive.name
        archive = local if local.is_file() else archive
    if not archive.is_file():
        _pull(release, archive)
    digest = f"sha256:{hashlib.sha256(archive.read_bytes()).hexdigest()}"
    if release.digest:
        what, locked, actual = "digest", release.digest, digest
    elif release.contents:
        what, locked, actual = "contents", release.contents, chart_contents(archive)
    else:
        return Chart(archive, digest, f"digest {digest[:19]}… not compared: {release.unproven}")
    if actual != locked:
        if archive.parent == CHARTS:
            archive.unlink()
        raise Problem(
            f"The chart {release.label} is not the locked one: its {what} is {actual}, "
            f"k8s/releases.yaml says {locked}.",
            "Do not install it. Find out who republished the version, then correct the lock file.",
        )
    origin = f" ({release.digest_from})" if release.digest_from else ""
    return Chart(archive, digest, f"{what} {actual[:19]}…{origin} as locked")


def chart_contents(archive: Path) -> str:
    """SHA-256 over every file of a packaged chart but `Chart.yaml`, which packaging rewrites."""
    lines = []
    with tarfile.open(archive) as packed:
        for member in packed.getmembers():
            name, file = member.name.partition("/")[2], packed.extractfile(member)
            if file is not None and name != "Chart.yaml":
                lines.append(f"{name} {hashlib.sha256(file.read()).hexdigest()}\n")
    return f"sha256:{hashlib.sha256(''.join(sorted(lines)).encode()).hexdigest()}"


def _pull(release: "Release", target: Path) -> None:
    place = ([f"{release.repository}/{release.chart}"] if release.repository.startswith("oci://")
             else [release.chart, "--repo", release.repository])  # fmt: skip
    CHARTS.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CHARTS) as folder:
        arguments = ("pull", *place, "--version", release.version, "--destination", folder)
        what = f"The pull of {release.label}"
        Helm()(what, *arguments, timeout_s=PULL_S, release=release.name)
        next(Path(folder).glob("*.tgz")).replace(target)
