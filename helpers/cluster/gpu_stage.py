"""Stage 02 for both targets: what is installed or rendered, and which promises hold."""

from dataclasses import replace
from typing import Any

import pandas as pd

from helpers import promises
from helpers.cloud.account import Account
from helpers.cluster import checks, client, contract, daemons, gpus, node_group, placement, releases
from helpers.cluster.checks import Setting
from helpers.cluster.live_reports import NodeGroup, Releases
from helpers.cluster.lock import Lock
from helpers.cluster.objects import Objects
from helpers.errors import Problem
from helpers.promises import Status
from helpers.run import Run

STAGE = "02"
PLUGIN = "nvidia-device-plugin"
NO_GPU = "no GPU node: a rehearsal has no cluster"


def group(run: Run, account: Account) -> NodeGroup:
    """Read the node group back and tick what it shows: price cap, taint and label.

    Raises:
        Problem: There is no such group, or AWS refuses.
    """
    found, agreed = node_group.read(run, account), contract.load().gpu
    told = "as the launch template has it; no node was seen" if account.emulated else ""
    promises.claim(
        run, "02.spot", holds=found.capped, evidence=found.path(), note=found.summary
    )  # fmt: skip
    shown = {
        "02.taint": (str(agreed.taint) in found.taints, f"{agreed.taint} {told}"),
        "02.label": (found.labels.get(agreed.label.key) == agreed.label.value,
                     f"{agreed.label} {told}"),
    }  # fmt: skip
    for promise, (holds, note) in shown.items():
        promises.claim(run, promise, holds=holds, evidence=found.path(), note=note.strip())
    return found


def group_frame(found: NodeGroup) -> pd.DataFrame:
    """The node group, as people read it."""
    sizes = f"{found.sizes[0]} to {found.sizes[2]}, {found.sizes[1]} wanted"
    cap = "none: AWS has no cap for managed groups"
    rows = {
        "group": f"{found.group} ({'EMULATED' if found.emulated else 'AWS'})",
        "instance types": ", ".join(found.instance_types),
        "most an hour may cost": cap if found.max_price_usd is None else f"{found.max_price_usd} $",
        "spot only": "yes" if found.spot_only else "no",
        "nodes": sizes,
        "labels": ", ".join(f"{key}={value}" for key, value in found.labels.items()),
        "taints": ", ".join(found.taints),
        "root disk": f"{found.disk_gib} GiB{', encrypted' if found.encrypted else ''}",
        "metadata service": "IMDSv2 only" if found.imdsv2 else "IMDSv1 too",
        "tags of instances": ", ".join(f"{k}={v}" for k, v in found.instance_tags.items()),
    }
    return pd.DataFrame({"": list(rows), "value": list(rows.values())})


def install(run: Run, account: Account) -> Releases:
    """Install the stage's releases on AWS; render and check them in a rehearsal. Ticks the plugin.

    Raises:
        Problem: Helm failed, a wait was in vain, or values cannot be filled.
    """
    if run.profile.target == "aws":
        found = releases.install(run, client.connect(run, account), account, STAGE)
    else:
        setting = checks.of_run(run)
        found = releases.rehearse(run, account, _checking(setting), STAGE)
    plugin = found.named(PLUGIN)
    if plugin is None:
        raise Problem(f"k8s/releases.yaml has no release '{PLUGIN}'.")
    status = {"REAL": Status.VERIFIED, "STATIC": Status.STATIC, "FAILED": Status.FAILED}.get(
        plugin.label, Status.NOT_REHEARSED
    )
    promises.tick(run, "02.device-plugin", status, evidence=found.path(), note=plugin.note)
    return found


def observe(run: Run, account: Account) -> str:
    """On AWS: wait for the GPUs, prove the taint, and tick what was seen; one sentence.

    Raises:
        Problem: The GPUs are not allocatable in time, or the taint keeps nobody out.
    """
    if run.profile.target != "aws":
        promises.tick(run, "02.gpu", Status.NOT_REHEARSED, note=NO_GPU)
        return f"NOT REHEARSED: {NO_GPU}."
    cluster = client.connect(run, account)
    seen = gpus.wait_allocatable(run, cluster, account)
    proof = gpus.prove_taint(run, cluster)
    promises.claim(
        run, "02.gpu", holds=seen.allocatable, evidence=seen.path(), note=seen.summary
    )  # fmt: skip
    promises.claim(
        run, "02.label", holds=seen.labelled, evidence=seen.path(), note=f"{seen.label} on nodes"
    )  # fmt: skip
    promises.claim(
        run, "02.taint", holds=seen.tainted and proof.holds, evidence=proof.path(),
        note=proof.summary,
    )  # fmt: skip
    return f"{seen.summary}; {proof.summary}"


def _checking(setting: Setting) -> releases.Check:
    """Schema, API rules and placement of an upstream release's objects; not our house rules."""

    def check(run: Run, name: str, namespace: str, bodies: list[dict[str, Any]]) -> str:
        beside = daemons.of_run(run, name, setting.contract)
        foreign = replace(setting, standing=beside, house=False)
        objects = Objects.of(bodies, namespace)
        lines = checks.examine(objects, foreign, name)
        faults = [str(one) for line in lines for one in line.findings]
        faults += _missing_on_gpu_nodes(name, objects, foreign)
        if faults:
            raise Problem(f"{len(faults)} faults, first: {faults[0]}.")
        return "; ".join(line.seen for line in lines if line.check in ("schema", "placement"))

    return check


def _missing_on_gpu_nodes(name: str, objects: Objects, setting: Setting) -> list[str]:
    """DaemonSets that the lock file waits for on GPU nodes, and that would not get there."""
    wanted = [one.name for one in Lock.load().named(name).waits if one.kind == "DaemonSet"]
    label = setting.contract.gpu.label
    gpu_nodes = {
        one.name for one in setting.cluster.nodes if one.labels.get(label.key) == label.value
    }
    placed = placement.place(objects, setting.cluster.nodes, setting.pods)
    return [
        f"DaemonSet {each} gets no pod on {node}"
        for each in wanted
        for node in sorted(gpu_nodes)
        if not any(one.node == node and f"/{each}" in one.pod for one in placed)
    ]
