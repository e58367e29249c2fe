"""Helm, as a cluster's releases need it: run, its state read, its errors explained."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sh

from helpers import programs
from helpers.cluster import explain
from helpers.cluster.client import Cluster
from helpers.errors import Problem
from helpers.paths import CACHE
from helpers.processes import MARK

HOOKS_S = 300
SLACK_S = 60.0  # for Helm's own work beside a hook's
PULL_S = 60.0
LOOK_S = 60.0
HISTORY = 5
PENDING = ("pending-install", "pending-upgrade", "pending-rollback")


@dataclass(frozen=True)
class State:
    """What Helm knows of a release.

    Attributes:
        status: Such as `deployed`, `failed` or `pending-upgrade`.
        revision: Count of its changes.
    """

    status: str
    revision: int

    @property
    def pending(self) -> bool:
        """Whether an operation was begun and not ended."""
        return self.status in PENDING


@dataclass(frozen=True)
class Helm:
    """Helm against one cluster; its caches are the checkout's own.

    Attributes:
        kubeconfig: File; empty for the user's own.
        context: Context in it; empty for no cluster at all.
        mark: Of the run, carried by its processes.
    """

    kubeconfig: str = ""
    context: str = ""
    mark: str = ""

    @classmethod
    def of(cls, cluster: Cluster, mark: str = "") -> "Helm":
        """Helm against a cluster."""
        return cls(cluster.kubeconfig, cluster.context, mark)

    def __call__(self, doing: str, *arguments: str, timeout_s: float = LOOK_S, **facts: str) -> str:
        """Run Helm and return what it prints.

        Args:
            doing: For the error's sentence, such as `The installation of triton`.
            *arguments: Of Helm.
            timeout_s: When it is ended, seconds.
            **facts: `release` and `namespace`, for the explanation.

        Raises:
            Unavailable: There is no Helm on this machine.
            Problem: It failed; the sentence says why, and what to do.
        """
        program = sh.Command(str(programs.need("helm")))
        try:
            said = program(*arguments, *self._flags(), _env=self._environment(), _timeout=timeout_s)
        except sh.TimeoutException as error:
            raise Problem(
                f"{doing} was not done within {timeout_s:g} s.",
                "Repeat the step; a release that is stuck in a pending state is explained there.",
            ) from error
        except sh.ErrorReturnCode as error:
            text = error.stderr.decode(errors="replace") or error.stdout.decode(errors="replace")
            raise explain.problem(doing, text, **facts) from error
        return str(said)

    def state(self, release: str, namespace: str) -> State | None:
        """What Helm knows of a release; None where there is none.

        Raises:
            Problem: The cluster cannot be asked.
        """
        flags = ("--namespace", namespace, "--filter", f"^{release}$", "--output", "json")
        pending = tuple(f"--{one}" for one in ("deployed", "failed", "pending", "uninstalling"))
        said = self(f"Helm's look at {release}", "list", *flags, *pending, release=release)
        found: list[dict[str, Any]] = json.loads(said or "[]")
        return State(found[0]["status"], int(found[0]["revision"])) if found else None

    def apply(self, release: str, chart: Path, namespace: str, values: Sequence[Path]) -> State:
        """Install a release or upgrade it to what is asked; hooks are waited for, pods are not.

        Raises:
            Problem: It is stuck in a pending state, or Helm failed.
        """
        facts = {"release": release, "namespace": namespace}
        before = self.state(release, namespace)
        if before and before.pending:
            raise explain.problem(
                f"The upgrade of {release}", f"STATUS: {before.status}", **facts
            )  # fmt: skip
        self(
            f"The {'upgrade' if before else 'installation'} of {release}",
            *("upgrade", release, str(chart), "--install", "--namespace", namespace),
            *("--history-max", str(HISTORY), "--timeout", f"{HOOKS_S}s"),
            *(part for path in values for part in ("--values", str(path))),
            timeout_s=HOOKS_S + SLACK_S,
            **facts,
        )
        after = self.state(release, namespace)
        if after is None or after.status != "deployed":
            raise Problem(f"Helm says {after.status if after else 'nothing'} of {release}.")
        return after

    def remove(self, release: str, namespace: str) -> bool:
        """Uninstall a release; False where there was none.

        Raises:
            Problem: Helm failed.
        """
        if self.state(release, namespace) is None:
            return False
        self(
            f"The removal of {release}",
            *("uninstall", release, "--namespace", namespace, "--timeout", f"{HOOKS_S}s"),
            timeout_s=HOOKS_S + SLACK_S,
            release=release,
            namespace=namespace,
        )
        return True

    def test(self, release: str, namespace: str) -> str:
        """Run the release's own tests and return what Helm says of them.

        Not with --logs: a pod that is removed once it has succeeded fails it (helm#9098).

        Raises:
            Problem: One failed.
        """
        return self(
            f"The test of {release}",
            *("test", release, "--namespace", namespace, "--timeout", f"{HOOKS_S}s"),
            timeout_s=HOOKS_S + SLACK_S,
            release=release,
            namespace=namespace,
        )

    def template(self, release: str, chart: Path, namespace: str, values: Sequence[Path]) -> str:
        """The objects of a release as YAML, CRDs too; no cluster is asked.

        Raises:
            Problem: The chart or its values are wrong.
        """
        return Helm(mark=self.mark)(
            f"The rendering of {release}",
            *("template", release, str(chart), "--namespace", namespace, "--include-crds"),
            *(part for path in values for part in ("--values", str(path))),
            release=release,
            namespace=namespace,
        )

    def _flags(self) -> list[str]:
        flags = ["--kubeconfig", self.kubeconfig] if self.kubeconfig else []
        return flags + (["--kube-context", self.context] if self.context else [])

    def _environment(self) -> dict[str, str]:
        homes = {
            f"HELM_{name}_HOME": str(CACHE / "helm" / name.lower())
            for name in ("CACHE", "CONFIG", "DATA")
        }
        return os.environ | homes | ({MARK: self.mark} if self.mark else {})
