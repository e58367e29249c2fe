"""What a run may have left in AWS: every kind is listed in full, judged by tag, name and VPC."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import pandas as pd
from botocore.exceptions import ClientError

from helpers.cloud.account import Account, error_code, is_not_found
from helpers.cloud.resource_kinds import (
    HOME,
    Caller,
    Item,
    Kind,
    kinds,
    list_items,
    removal_command,
)
from helpers.run import Run, now
from helpers.scenario import Settings

RUN, PROJECT, KEEP = "run", "project", "keep"  # tags
# Set by EKS, its nodes, and the controllers in the cluster, on what they create.
CLUSTER_TAGS = (
    "aws:eks:cluster-name",
    "eks:cluster-name",
    "elbv2.k8s.aws/cluster",
    "cluster.k8s.amazonaws.com/name",
)
# What EKS, its load balancer controller and its network plugin leave behind without the run's tag.
MADE_BY_CLUSTER = ("network interface", "security group")


class Leftover(Settings):
    """One resource that counts as the run's."""

    kind: str  # what it is
    region: str  # where it is
    id: str  # its identifier
    parent: str = ""  # what it is inside of; empty where it stands alone
    reasons: tuple[str, ...]  # why it counts as the run's
    state: str = ""  # its state in AWS's words; empty where it has none
    owned: bool  # whether it is this run's own (`Marks.owns`): only then may it be removed
    leaving: bool = False  # whether it is already being removed
    kept: str = ""  # why it is meant to outlive the run; empty where it is not
    command: str  # the command that removes it


class ListedKind(Settings):
    """One list that was read."""

    kind: str  # what was looked for
    call: str  # the call that lists it
    region: str  # where
    listed: int = 0  # number of resources, of any owner
    found: int = 0  # how many of them count as the run's
    problem: str = ""  # why it could not be read in full; empty where it could


class Scan(Settings):
    """The result of a scan."""

    at: str  # when, UTC
    filters: tuple[str, ...]  # by what resources count as the run's
    looked: tuple[ListedKind, ...]  # every list that was read, or could not be
    found: tuple[Leftover, ...]  # every resource that counts as the run's

    @property
    def left(self) -> tuple[Leftover, ...]:
        """What is left over: found, and not meant to stay."""
        return tuple(item for item in self.found if not item.kept)

    @property
    def not_scanned(self) -> tuple[ListedKind, ...]:
        """Lists that could not be read: nothing is known about them."""
        return tuple(item for item in self.looked if item.problem)

    @property
    def is_clean(self) -> bool:
        """Whether everything was scanned and nothing is left."""
        return not self.left and not self.not_scanned

    @property
    def summary(self) -> str:
        """One sentence: how much was scanned, and what is left."""
        scanned = len({item.kind for item in self.looked if not item.problem})
        listed = sum(item.listed for item in self.looked)
        text = f"{scanned} kinds with {listed} resources scanned, {len(self.left)} left"
        missing = ", ".join(dict.fromkeys(item.kind for item in self.not_scanned))
        return f"{text}; not scanned: {missing}" if missing else text


def frame(scan: Scan) -> pd.DataFrame:
    """What is left, why it counts as the run's, and the command that removes it."""
    columns = ["Kind", "Id", "Because of", "This run's own", "Removed by"]
    rows = [
        (item.kind, item.id, "; ".join(item.reasons), "yes" if item.owned else "no: not touched",
         item.command)
        for item in scan.left
    ]  # fmt: skip
    return pd.DataFrame(rows, columns=columns)


def kinds_frame(scan: Scan) -> pd.DataFrame:
    """What was scanned, kind by kind."""
    columns = ["Kind", "Call", "Region", "Listed", "Ours", "Not scanned"]
    return pd.DataFrame([item.model_dump().values() for item in scan.looked], columns=columns)


@dataclass(frozen=True)
class Marks:
    """By what a run's resources are recognised."""

    run_id: str  # value of the tag `run`; what has it is this run's own
    project: str  # value of the tag `project`
    name: str  # prefix of names, and the cluster's name
    vpcs: frozenset[str] = frozenset()  # VPCs of the run
    state_bucket: str = ""  # bucket of Terraform's state, which outlives the run; may be empty
    own_vpcs: frozenset[str] = frozenset()  # those of `vpcs` that have the run's tag

    @classmethod
    def for_run(cls, run: Run, vpcs: Iterable[str] = ()) -> "Marks":
        """The marks of a run; further VPCs may be known."""
        settings = run.profile.infrastructure
        project = run.profile.tags.get(PROJECT, settings.name)
        known = frozenset(filter(None, vpcs))
        return cls(run.run_id, project, settings.name, known, settings.state_bucket)

    @property
    def filters(self) -> tuple[str, ...]:
        """What is looked for, for people."""
        return (
            f"tag {RUN}={self.run_id}",
            f"tag {PROJECT}={self.project}",
            f"tags of cluster {self.name} ({', '.join(CLUSTER_TAGS)}, kubernetes.io/cluster/)",
            f"name {self._pattern.pattern}",
            f"VPC {', '.join(sorted(self.vpcs)) or 'none known'}",
        )

    def reasons(self, name: str, tags: Mapping[str, str], vpc: str) -> tuple[str, ...]:
        """Why a resource counts as the run's; empty where it does not."""
        named = [text for text in (name, tags.get("Name", "")) if self._pattern.search(text)]
        cluster = [tag for tag in tags if tag == f"kubernetes.io/cluster/{self.name}"]
        cluster += self._cluster_tags(tags)
        reasons = {
            f"tag {RUN}={self.run_id}": self.owns(tags),
            f"tag {PROJECT}={self.project}": tags.get(PROJECT) == self.project,
            **{f"tag {tag}": True for tag in cluster[:1]},
            **{f"name {text}": True for text in named[:1]},
            f"VPC {vpc}": vpc in self.vpcs,
        }
        return tuple(reason for reason, counts in reasons.items() if counts)

    def owns(self, tags: Mapping[str, str], kind: str = "", vpc: str = "") -> bool:
        """Whether a resource is this run's own; nothing else may ever be removed.

        It has the run's tag; or it has no run's, and its cluster made it in a VPC that has it.
        """
        if RUN in tags:
            return tags[RUN] == self.run_id
        made = kind in MADE_BY_CLUSTER and vpc in self.own_vpcs
        return made and bool(self._cluster_tags(tags))

    def knowing(self, vpc: Item, caller: Caller) -> "Marks":
        """The same, with a VPC if it counts as the run's: what is in it then does too."""
        tags = vpc.tags(caller) or {}
        own = {vpc.id} if self.owns(tags) else set()
        ours = {vpc.id} if self.reasons(str(vpc.facts["name"]), tags, vpc.id) else set()
        return replace(self, vpcs=self.vpcs | ours, own_vpcs=self.own_vpcs | own)

    def kept(self, kind: str, name: str, tags: Mapping[str, str]) -> str:
        """Why a resource is meant to outlive the run; empty where it is not."""
        if kind.startswith("S3") and self.state_bucket and name == self.state_bucket:
            return "Terraform's state, named in the profile"
        if tags.get(KEEP) and not self.owns(tags):
            return f"tag {KEEP}={tags[KEEP]}"
        return ""

    def _cluster_tags(self, tags: Mapping[str, str]) -> list[str]:
        return [tag for tag in CLUSTER_TAGS if tags.get(tag) == self.name]

    @property
    def _pattern(self) -> re.Pattern[str]:
        """Names that begin with ours, or with a prefix that EKS puts before it."""
        return re.compile(rf"(^|[/ ])(eks-|eks-cluster-sg-)?{re.escape(self.name)}($|[-_./])")


def scan(
    run: Run,
    account: Account,
    *,
    vpcs: Iterable[str] = (),
    only: Iterable[str] = (),
    caller: Caller | None = None,
) -> Scan:
    """Look for everything the run may have left, and for what looks as if it were the run's.

    `vpcs`: VPCs known to be the run's, also when they are gone.
    `only`: kinds to look for; empty for all.
    `caller`: of an earlier scan, since making clients takes seconds.
    """
    order = [kind.kind for kind in kinds()]
    wanted = {*only} or {*order}
    chosen = [kind for kind in kinds() if kind.kind in wanted]
    scanner = _Scanner(caller or Caller.identify(account), Marks.for_run(run, vpcs))
    # what is listed inside something else needs that first
    scanner.scan([kind for kind in chosen if not kind.within])
    scanner.scan([kind for kind in chosen if kind.within])
    return Scan(
        at=now(),
        filters=scanner.marks.filters,
        looked=tuple(scanner.lists),
        found=tuple(sorted(scanner.found, key=lambda item: (order.index(item.kind), item.id))),
    )


def error_text(error: ClientError) -> str:
    """What AWS refused, in a few words."""
    message = str(error.response["Error"].get("Message", "")).rstrip(".")
    return f"{error.operation_name}: {error_code(error)}{f' ({message})' if message else ''}"


class _Scanner:
    """A scan in progress: what is known so far decides what is looked for next."""

    def __init__(self, caller: Caller, marks: Marks) -> None:
        self.caller, self.marks = caller, marks
        self.lists: list[ListedKind] = []
        self.found: list[Leftover] = []

    def scan(self, chosen: list[Kind]) -> None:
        """List kinds, and keep what counts as the run's."""
        home = self.caller.account.region
        lists = [
            (kind, region, *self._list(kind, region))
            for kind in chosen
            for region in dict.fromkeys(home if place == HOME else place for place in kind.regions)
        ]
        # a VPC of the run makes what is in it the run's
        for item in (item for _, _, items, _ in lists for item in items):
            if item.kind.kind == "VPC":
                self.marks = self.marks.knowing(item, self.caller)
        for kind, region, items, problems in lists:
            before = len(self.found)
            for item in items:
                try:
                    self._judge(item)
                except ClientError as error:
                    if not is_not_found(error):
                        problems.append(f"{item.id}: {error_text(error)}")
            self.lists.append(
                ListedKind(kind=kind.kind, call=f"{kind.service}.{kind.list.call}", region=region,
                           listed=len(items), found=len(self.found) - before,
                           problem="; ".join(problems[:3]))
            )  # fmt: skip

    def _list(self, kind: Kind, region: str) -> tuple[list[Item], list[str]]:
        """What exists of a kind, and why the list is not complete."""
        parents, items = [i.id for i in self.found if i.kind == kind.within and not i.kept], []
        try:
            for parent in parents if kind.within else [""]:
                items += list_items(self.caller, kind, region, parent)
        except ClientError as error:
            return items, [error_text(error)]
        return [item for item in items if not item.ended], []

    def _judge(self, item: Item) -> None:
        """Keep a resource if it counts as the run's; without tags its parent decides."""
        tags, parent_id = item.tags(self.caller), item.facts["parent"]
        name, vpc = str(item.facts["name"]), str(item.facts["vpc"])
        reasons = self.marks.reasons(name, tags or {}, vpc)
        owned = self.marks.owns(tags or {}, item.kind.kind, vpc)
        if tags is None:
            place = (item.kind.within, parent_id)
            parent = next(other for other in self.found if (other.kind, other.id) == place)
            reasons, owned = (f"in {parent.kind} {parent.id}",), parent.owned
        if not reasons:
            return
        kind, kept = item.kind.kind, self.marks.kept(item.kind.kind, item.id, tags or {})
        self.found.append(
            Leftover(kind=kind, region=item.region, id=item.id, parent=parent_id, reasons=reasons,
                     state=item.state, owned=owned, leaving=item.leaving, kept=kept,
                     command=removal_command(self.caller, item))
        )  # fmt: skip
