"""The life of the stack against the emulator: made, planned again, killed, destroyed, gone.

One life for all of these tests, with the real Terraform and the real code of `infra/`; what it
asked of AWS is then held against the policy of the role that does all this on AWS.
"""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from helpers import processes, programs
from helpers.cloud import guardrails, leftovers, preflight, stack, zero
from helpers.cloud.account import ACTIONS, Account
from helpers.cloud.guardrails import Readiness
from helpers.cloud.leftovers import Scan
from helpers.cloud.plan import PlanFacts, Replan
from helpers.cloud.stack import GpuNode, Stack
from helpers.cloud.terraform import Workspace
from helpers.cloud.zero import Zero
from helpers.cluster import nodes
from helpers.errors import Problem
from helpers.profile import Profile
from helpers.run import Run
from helpers.serving import builders, codebuild
from tests import emulated
from tests.emulated import Fault, Line

from . import privilege

pytestmark = [
    pytest.mark.timeout(1200),  # the provider waits up to a minute before it deletes a cluster
    pytest.mark.skipif(not programs.find("terraform"), reason="there is no Terraform"),
]
GPU_TYPES = ("g4dn.xlarge",)
BEGUN = "DeleteAutoScalingGroup"  # from then on a destroy is half-way


@dataclass
class Life:
    """What became of one stack."""

    ready: Readiness
    planned: PlanFacts
    stack: Stack
    seen: Scan  # by the leftover scan while it stood
    change: Replan  # a plan of the same stack with another cap on the price of GPU nodes
    closed: str = ""  # what a stage says after the dead man's switch has fired
    pushed: str = ""  # the digest of an image that its CodeBuild project built
    reopened: tuple[int, ...] = ()  # minimum, desired and maximum nodes after it was renewed
    half_way: int = 0  # resources in the state after its destroy was killed
    deleted: frozenset[str] = frozenset()  # what that destroy had asked for until then
    nodes: tuple[GpuNode, ...] = ()  # that Auto Scaling knows of at the end
    certificate: Zero | None = None
    left: tuple[str, ...] = ("not looked at",)  # in Terraform's state at the end
    calls: list[Line] = field(default_factory=list)
    policies: list[dict[str, Any]] = field(default_factory=list)  # the deployer's


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    patch = pytest.MonkeyPatch()
    folder = Path(tmp_path_factory.mktemp("life"))
    run = Run.create(Profile.load_named("quick"), folder / "outputs")
    try:
        aws = emulated.of_run(run, patch)
        lived = _made(run, aws)
        with ThreadPoolExecutor() as pool:  # a destroy waits most of the time
            policies = pool.submit(privilege.deployer, aws.account, folder / "bootstrap")
            _end(run, aws, lived)
        lived.policies, lived.calls = policies.result(), aws.calls()
        yield lived
    finally:
        processes.down(run)
        patch.undo()


def _made(run: Run, aws: emulated.Emulator) -> Life:
    account = aws.account
    ready = preflight.examine(run, account, GPU_TYPES)
    workspace = Workspace.for_run(run, account)
    workspace.init()
    planned = workspace.plan()
    applied = workspace.apply()
    stack.describe(run, account)
    guardrails.renew_dead_man(run, account)
    guardrails.read(run, account)
    seen = leftovers.scan(run, account, vpcs=[applied.vpc_id])
    cheaper = Profile.load_named("quick", "infrastructure.gpu.max_price_usd=0.25")
    workspace = Workspace.for_run(Run(run.folder, cheaper), account)
    workspace.init()
    lived = Life(ready, planned, applied, seen, workspace.replan())
    guardrails.require_armed(run, account)
    (context := run.folder / "image").mkdir()
    image = f"{applied.ecr_repository_url}:models"
    lived.pushed = codebuild.build(run, account, image, builders.DOCKERFILE, context)
    lived.closed = _fired(run, account)
    guardrails.renew_dead_man(run, account)
    guardrails.require_armed(run, account)
    lived.reopened = nodes.read_gpu_group(run, account).sizes
    return lived


def _fired(run: Run, account: Account) -> str:
    """Let the dead man's switch fire now; what a stage says then."""
    client, schedule = account.client("scheduler"), guardrails._schedule(account, run.load(Stack))
    settable = client.meta.service_model.operation_model("UpdateSchedule").input_shape.members
    kept = {name: value for name, value in schedule.items() if name in settable}
    moment = datetime.now(UTC) - timedelta(seconds=1)
    client.update_schedule(**kept | {"ScheduleExpression": f"at({moment:%Y-%m-%dT%H:%M:%S})"})
    with pytest.raises(Problem) as refused:
        guardrails.require_armed(run, account)
    return str(refused.value)


def _end(run: Run, aws: emulated.Emulator, lived: Life) -> None:
    """Kill a destroy in the middle, destroy again, and look for what is left."""
    workspace = Workspace.for_run(run, aws.account)
    aws.fault(Fault(kind="slow", service="eks", operation="DeleteNodegroup", delay_s=5, times=1))
    killer = threading.Thread(target=_kill, args=(workspace, aws))
    killer.start()
    with pytest.raises(Problem):
        workspace.destroy()
    killer.join()
    aws.clear_faults()
    asked = {call.action for call in aws.calls()}
    lived.deleted = frozenset(action for action in asked if action.startswith("Delete"))
    lived.half_way = workspace.destroy()
    lived.left = workspace.remaining()
    lived.nodes = stack.record_gpu_nodes(run, aws.account).nodes
    lived.certificate = zero.certify(run, aws.account, state=lived.left, sleep=lambda _: None)


def _kill(workspace: Workspace, aws: emulated.Emulator) -> None:
    while BEGUN not in {call.action for call in aws.calls()}:
        time.sleep(0.2)
    os.kill(json.loads((workspace.folder / "process.json").read_text())["pid"], signal.SIGKILL)


def test_the_account_is_ready_and_a_plan_makes_the_whole_stack(life: Life) -> None:
    assert life.ready.blocking == ()
    assert {resource.action for resource in life.planned.resources} == {"create"}
    assert life.stack.gpu_asg_name and life.stack.cluster_name and life.stack.vpc_id
    assert life.pushed.startswith("sha256:")  # by its CodeBuild project


def test_a_second_plan_has_what_was_changed_alone(life: Life) -> None:
    changes = [(resource.address, resource.action) for resource in life.change.changed]
    assert changes == [("aws_autoscaling_group.gpu", "update")]
    assert life.change.resources == len(life.planned.resources)


def test_a_switch_that_has_fired_is_noticed_before_a_stage_waits_and_renewed(life: Life) -> None:
    assert "fired or disarmed" in life.closed and "the maximum of gpu-e2e-gpu is 0" in life.closed
    assert "workbook run --only 01 --run" in life.closed
    assert life.reopened == (0, 1, 2)


def test_the_scan_sees_the_stack_while_it_stands(life: Life) -> None:
    assert life.seen.not_scanned == ()
    assert {leftover.kind for leftover in life.seen.left} >= {
        "EKS cluster", "EKS node group", "auto scaling group", "launch template", "instance",
        "volume", "VPC", "NAT gateway", "elastic IP", "S3 bucket", "ECR repository", "role",
        "budget",
    }  # fmt: skip


def test_a_destroy_that_is_killed_leaves_something_and_is_finished_by_the_next(life: Life) -> None:
    assert BEGUN in life.deleted and "DeleteVpc" not in life.deleted
    # a kill may tear the state; then an older copy of it is back, and still names what is gone
    assert 0 < life.half_way <= len(life.planned.resources)
    assert life.left == ()


def test_the_gpu_nodes_of_a_deleted_group_are_still_known(life: Life) -> None:
    assert len(life.nodes) == 2  # the switch ended the first
    for node in life.nodes:
        assert node.instance_type == "g4dn.xlarge" and node.end and node.end > node.start


def test_nothing_is_left_and_that_is_certified(life: Life) -> None:
    assert life.certificate is not None
    assert life.certificate.refused == ()
    assert life.certificate.issued
    assert all(scan.is_clean for scan in life.certificate.passes)


def test_the_deployer_may_do_all_that_a_life_asks_for(life: Life) -> None:
    assert privilege.lacking(privilege.used(life.calls), privilege.granted(life.policies)) == set()


def test_stage_00_asks_iam_for_all_that_a_life_asks_for(life: Life) -> None:
    needed = privilege.used(life.calls) | {name for name in privilege.reasons() if ":" in name}
    listed = {action for group in yaml.safe_load(ACTIONS.read_text()) if group.get("needed", True)
              for actions in group["resources"].values() for action in actions}  # fmt: skip
    assert needed - listed == set(), f"list these actions in {ACTIONS}"


def test_the_deployer_may_use_no_service_without_need_or_reason(life: Life) -> None:
    grants, needed = privilege.granted(life.policies), privilege.used(life.calls)
    assert privilege.idle(grants, needed, privilege.reasons()) == set()
    assert privilege.baseless(privilege.reasons(), grants, needed) == set()


def test_one_action_less_in_the_policy_is_seen(life: Life) -> None:
    needed = privilege.used(life.calls)
    for action in needed - {"sts:GetCallerIdentity"}:
        granted = privilege.granted(life.policies)
        grants = {name for name in granted if name.lower() != action.lower()}
        patterns = (name[:-1].lower() for name in grants if name.endswith("*"))
        by_pattern = any(pattern in action.lower() for pattern in patterns)
        assert by_pattern or action in privilege.lacking(needed, grants)
