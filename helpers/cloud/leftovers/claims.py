"""Whose a resource is: by tag, by name, by VPC."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from helpers.run import Run

RUN, PROJECT = "run", "project"
# Put by EKS, its nodes, and the controllers that work in the cluster, on what they make.
CLUSTER_TAGS = (
    "aws:eks:cluster-name",
    "eks:cluster-name",
    "elbv2.k8s.aws/cluster",
    "cluster.k8s.amazonaws.com/name",
)
KEPT_TAG = "keep"


@dataclass(frozen=True)
class Marks:
    """By what a run's resources are known.

    Attributes:
        run_id: Value of the tag `run`; what carries it is this run's own.
        project: Value of the tag `project`.
        name: Prefix of names, and the cluster's name.
        vpcs: VPCs of the run.
        state_bucket: Bucket of Terraform's state, which outlives the run; may be empty.
    """

    run_id: str
    project: str
    name: str
    vpcs: frozenset[str] = frozenset()
    state_bucket: str = ""

    @classmethod
    def of(cls, run: Run, vpcs: frozenset[str] = frozenset()) -> "Marks":
        """By what this run's resources are known."""
        made = run.profile.infrastructure
        project = run.profile.tags.get(PROJECT, made.name)
        return cls(run.run_id, project, made.name, vpcs, made.state_bucket)

    def beside(self, vpcs: frozenset[str]) -> "Marks":
        """The same, with further VPCs."""
        return replace(self, vpcs=self.vpcs | vpcs)

    @property
    def filters(self) -> tuple[str, ...]:
        """What is looked for, for people."""
        vpcs = ", ".join(sorted(self.vpcs)) or "none known"
        cluster = f"tags of cluster {self.name} ({', '.join(CLUSTER_TAGS)}, kubernetes.io/cluster/)"
        return (
            f"tag {RUN}={self.run_id}",
            f"tag {PROJECT}={self.project}",
            cluster,
            f"name {self._pattern.pattern}",
            f"VPC {vpcs}",
        )

    def reasons(self, name: str, tags: Mapping[str, str], vpc: str) -> tuple[str, ...]:
        """Why a resource counts as ours; empty where nothing says so."""
        named = [one for one in (name, tags.get("Name", "")) if self._pattern.search(one)]
        found = [
            f"tag {RUN}={tags[RUN]}" if self.owns(tags) else "",
            f"tag {PROJECT}={self.project}" if tags.get(PROJECT) == self.project else "",
            self._cluster_tag(tags),
            f"name {named[0]}" if named else "",
            f"VPC {vpc}" if vpc in self.vpcs else "",
        ]
        return tuple(filter(None, found))

    def owns(self, tags: Mapping[str, str]) -> bool:
        """Whether a resource carries this run's tag; nothing else may ever be removed."""
        return tags.get(RUN) == self.run_id

    def kept(self, kind: str, name: str, tags: Mapping[str, str]) -> str:
        """Why a resource is meant to outlive the run; empty where it is not."""
        if kind.startswith("S3") and self.state_bucket and name == self.state_bucket:
            return "Terraform's state, named in the profile"
        if tags.get(KEPT_TAG) and not self.owns(tags):
            return f"tag {KEPT_TAG}={tags[KEPT_TAG]}"
        return ""

    def _cluster_tag(self, tags: Mapping[str, str]) -> str:
        owned = f"kubernetes.io/cluster/{self.name}"
        if owned in tags:
            return f"tag {owned}"
        return next((f"tag {one}" for one in CLUSTER_TAGS if tags.get(one) == self.name), "")

    @property
    def _pattern(self) -> re.Pattern[str]:
        """Names that begin with ours, or with a prefix that EKS puts before it.

        >>> bool(Marks("r", "p", "gpu-e2e")._pattern.search("/aws/eks/gpu-e2e/cluster"))
        True
        >>> bool(Marks("r", "p", "gpu-e2e")._pattern.search("gpu-e2example"))
        False
        """
        return re.compile(rf"(^|[/ ])(eks-|eks-cluster-sg-)?{re.escape(self.name)}($|[-_./])")
