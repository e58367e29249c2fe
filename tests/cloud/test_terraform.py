"""The real Terraform on a small stack: applied, planned again, failed, killed, and destroyed."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable

import psutil
import pytest

from helpers.cloud import terraform
from helpers.cloud.plan import PlanFacts
from helpers.cloud.stack import Stack
from helpers.cloud.terraform import Workspace
from helpers.cloud.terraform_process import BACKUP, RECORD, STATE
from helpers.errors import Problem
from tests.emulated import Emulator, Fault

from .conftest import MakeWorkspace

PATIENCE_S = 60
# A notebook's kernel, as far as Terraform is concerned.
KERNEL = """
import sys
from pathlib import Path
from helpers.cloud.account import Account
from helpers.cloud import terraform
from helpers.cloud.terraform import Workspace
from helpers.run import Run

terraform.ROOT = Path(sys.argv[3])
run = Run.open(sys.argv[1], Path(sys.argv[2]))
made = Workspace.for_run(run, Account("us-east-1", sys.argv[4]))
getattr(made, sys.argv[5])()
"""


def planned(workspace: Workspace) -> PlanFacts:
    workspace.init()
    return workspace.plan()


def kernel(workspace: Workspace, verb: str) -> "subprocess.Popen[str]":
    run = workspace.run
    checkout = run.folder.parents[1] / "checkout"
    arguments = [run.run_id, run.folder.parent, checkout, workspace.account.endpoint, verb]
    return subprocess.Popen(
        [sys.executable, "-c", KERNEL, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def slow_began(workspace: Workspace, log: str) -> Callable[[], bool]:
    """Whether Terraform is at work on the slow resource, with all before it done."""
    path = workspace.folder / log

    def look() -> bool:
        return path.is_file() and '"terraform_data.slow[0]: Provisioning' in path.read_text()

    return look


def orphan(workspace: Workspace) -> psutil.Process:
    noted = json.loads((workspace.folder / RECORD).read_text())
    return psutil.Process(noted["pid"])


def test_a_stack_lives_and_ends(make: MakeWorkspace, capsys: pytest.CaptureFixture[str]) -> None:
    workspace = make("aws")
    facts = planned(workspace)
    assert (facts.changes, facts.emulated) == (3, True) and "3 to create" in facts.summary
    stack = workspace.apply()
    shown = capsys.readouterr().out
    assert "[3/3] " in shown and "aws_sns_topic.alerts created in " in shown
    assert workspace.run.load(Stack) == stack and stack.gpu_asg_name == "made-up"
    kinds = [event["kind"] for event in workspace.run.events()]
    assert kinds[-3:] == ["stack-apply-start", "stack-apply-stop", "gpu-nodes"]
    assert workspace.replan().summary == "no changes: all 3 resources are as planned"
    check_privacy(workspace)
    assert workspace.remaining() == (
        "aws_acm_certificate.this", "aws_ecr_repository.triton", "aws_sns_topic.alerts",
    )  # fmt: skip
    assert workspace.destroy() == 3
    assert workspace.remaining() == () and workspace.destroy() == 0
    (end,) = workspace.run.events("stack-destroy-stop")
    assert end["outcome"] == "finished"


def check_privacy(workspace: Workspace) -> None:
    """What is private stays with the owner, and out of the plan that others read."""
    assert stat.S_IMODE(workspace.folder.stat().st_mode) == 0o700
    for name in (
        STATE,
        "run.tfvars.json",
        "certificate/alb-key.pem",
        "apply.log",
    ):
        assert stat.S_IMODE((workspace.folder / name).stat().st_mode) == 0o600, name
    assert "PRIVATE KEY" in (workspace.folder / STATE).read_text()
    plan = (workspace.folder / "plan.json").read_text()
    assert "PRIVATE KEY" not in plan and "(sensitive)" in plan
    assert str(workspace.run.folder) not in plan


def test_a_plan_is_applied_once_and_only_the_one_whose_cost_is_known(make: MakeWorkspace) -> None:
    workspace = make()
    planned(workspace)
    (workspace.folder / "plan.tfplan").write_bytes(b"another plan")
    with pytest.raises(Problem, match="no plan to apply whose cost is known"):
        workspace.apply()
    assert workspace.remaining() == ()


def test_nothing_is_created_before_the_report_is_green(make: MakeWorkspace) -> None:
    workspace = make(settings="")
    planned(workspace)
    with pytest.raises(Problem, match="account has not been checked"):
        workspace.apply()
    assert workspace.remaining() == () and not workspace.run.events("stack-apply-start")


def test_nothing_is_created_above_the_budget(make: MakeWorkspace) -> None:
    workspace = make("aws", "infrastructure.override_readiness=true,kpis.cost_usd=0.0001")
    planned(workspace)
    with pytest.raises(Problem, match=r"kpis\.cost_usd allows"):
        workspace.apply()
    assert workspace.remaining() == ()


FAULTS = (
    (Fault(kind="expired", service="sns"), "expired", "aws sso login"),
    (Fault(kind="denied", service="sns", operation="Create*"), "not authorized", "deployer"),
)


def test_each_failure_is_one_sentence_and_the_next_apply_goes_on(
    make: MakeWorkspace, served: Emulator
) -> None:
    workspace = make("aws")
    workspace.init()
    for fault, says, next_step in FAULTS:
        workspace.plan()
        served.fault(fault)
        with pytest.raises(Problem) as caught:
            workspace.apply()
        served.clear_faults()
        assert caught.value.what.startswith("Terraform could not apply the plan: ")
        assert says in caught.value.what and "\n" not in caught.value.what
        assert next_step in caught.value.next_step
        assert workspace.run.events("stack-apply-stop")[-1]["outcome"] == "failed"
    assert "1 to create" in workspace.plan().summary
    served.fault(Fault(kind="throttled", service="sns", operation="Create*", times=1))
    workspace.apply()  # the provider sits a passing throttle out
    assert len(workspace.remaining()) == 3


def test_a_killed_kernel_leaves_a_state_from_which_destroy_goes_on(make: MakeWorkspace) -> None:
    workspace = make(zones=3)
    planned(workspace)
    notebook = kernel(workspace, "apply")
    until(slow_began(workspace, "apply.log"))
    notebook.kill()
    notebook.wait()
    left = orphan(workspace)
    assert left.is_running()
    assert workspace.destroy() >= 3
    assert not left.is_running() and workspace.remaining() == ()


def test_an_interrupt_reaches_terraform_once_and_its_state_is_written(make: MakeWorkspace) -> None:
    workspace = make(zones=3)
    planned(workspace)
    notebook = kernel(workspace, "apply")
    until(slow_began(workspace, "apply.log"))
    notebook.send_signal(signal.SIGINT)
    said, _ = notebook.communicate(timeout=PATIENCE_S)
    assert "Terraform completes what it started" in said and "KeyboardInterrupt" in said
    assert workspace.run.events("stack-apply-stop")[-1]["outcome"] == "interrupted"
    assert not (workspace.folder / RECORD).exists()
    assert "terraform_data.first[0]" in workspace.remaining()
    workspace.destroy()
    assert workspace.remaining() == ()


def test_a_destroy_whose_terraform_was_killed_can_be_run_again(make: MakeWorkspace) -> None:
    workspace = make(zones=3)
    planned(workspace)
    workspace.apply()
    notebook = kernel(workspace, "destroy")
    until(slow_began(workspace, "destroy.log"))
    os.kill(orphan(workspace).pid, signal.SIGKILL)
    said, _ = notebook.communicate(timeout=PATIENCE_S)
    assert "Terraform could not destroy the stack" in said
    assert workspace.remaining()
    workspace.destroy()
    assert workspace.remaining() == ()


def test_terraform_of_another_notebook_is_not_disturbed(make: MakeWorkspace) -> None:
    workspace = make(zones=3)
    planned(workspace)
    notebook = kernel(workspace, "apply")
    until(slow_began(workspace, "apply.log"))
    with pytest.raises(Problem, match="working on this run in another notebook"):
        workspace.destroy()
    notebook.communicate(timeout=PATIENCE_S)
    assert notebook.returncode == 0
    workspace.destroy()


def test_a_torn_state_is_mended_from_its_copy(
    make: MakeWorkspace, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = make()
    planned(workspace)
    workspace.apply()
    whole = (workspace.folder / STATE).read_text()
    (workspace.folder / STATE).write_text(whole[: len(whole) // 2])
    assert workspace.destroy() == 2
    assert "torn by a kill" in capsys.readouterr().out


def test_a_state_that_could_not_be_stored_is_stored_later(make: MakeWorkspace) -> None:
    workspace = make()
    planned(workspace)
    workspace.apply()
    kept = workspace.folder / STATE
    kept.rename(workspace.code / terraform.ERRORED)
    (workspace.folder / BACKUP).unlink(missing_ok=True)
    workspace.init()
    assert len(workspace.remaining()) == 2


def test_a_run_without_stack_has_nothing_to_destroy(make: MakeWorkspace) -> None:
    workspace = make()
    assert not workspace.exists
    assert workspace.destroy() == 0 and workspace.remaining() == ()
    assert not workspace.run.events("stack-destroy-start")
