"""The real Terraform on a small stack: applied, planned again, failed, killed, and destroyed."""

import json
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest

from helpers.cloud import terraform
from helpers.cloud.plan import PlanFacts
from helpers.cloud.stack import Stack
from helpers.cloud.terraform import Workspace
from helpers.cloud.terraform_process import BACKUP, RECORD, STATE
from helpers.errors import Problem
from helpers.profile import Profile
from helpers.run import Run
from helpers.watcher import has_ended
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
Workspace.for_run(run, Account("us-east-1", sys.argv[4])).apply()
"""


def planned(workspace: Workspace) -> PlanFacts:
    workspace.init()
    return workspace.plan()


@contextmanager
def applying(workspace: Workspace) -> Iterator["subprocess.Popen[str]"]:
    """A notebook that applies the plan and is at work on the slow resource, the others done."""
    workspace.init()
    workspace.plan()
    run, checkout = workspace.run, workspace.run.folder.parents[1] / "checkout"
    arguments = [run.run_id, run.folder.parent, checkout, workspace.account.endpoint]
    with subprocess.Popen(
        [sys.executable, "-c", KERNEL, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as notebook:
        log, deadline = workspace.folder / "apply.log", time.monotonic() + PATIENCE_S
        while not log.is_file() or "data.slow[0]: Provisioning" not in log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield notebook


def test_what_aws_refuses_is_a_sentence_and_what_exists_is_kept_in_private(
    make: MakeWorkspace, served: Emulator
) -> None:
    workspace = make("aws")
    facts = planned(workspace)
    assert (facts.changes, facts.emulated) == (2, True) and "2 to create" in facts.summary
    throttled = Fault(kind="throttled", service="acm", operation="Import*", times=1)
    served.fault(throttled, Fault(kind="denied", service="sns", operation="Create*"))
    with pytest.raises(Problem, match="Terraform could not apply the plan: ") as caught:
        workspace.apply()
    assert "not authorized" in caught.value.what and "\n" not in caught.value.what
    assert "deployer" in caught.value.next_step
    served.clear_faults()
    check_privacy(workspace)
    # the provider sat the passing throttle out
    assert workspace.remaining() == ("aws_acm_certificate.this",)


def test_a_stack_fails_goes_on_and_ends(
    make: MakeWorkspace, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = make()
    assert workspace.destroy() == 0 and workspace.remaining() == ()
    assert not workspace.run.events("stack-destroy-start")
    planned(workspace)
    stop = workspace.folder / "stop-1"
    stop.touch()
    with pytest.raises(Problem, match="Terraform could not apply the plan: "):
        workspace.apply()
    assert workspace.run.events("stack-apply-stop")[-1]["outcome"] == "failed"
    stop.unlink()
    assert "1 to replace of 2" in workspace.plan().summary
    stack = workspace.apply()
    assert "terraform_data.first[1] created in " in capsys.readouterr().out
    assert workspace.run.load(Stack) == stack and stack.gpu_asg_name == "made-up"
    kinds = [event["kind"] for event in workspace.run.events()]
    assert kinds[-2:] == ["stack-apply-start", "stack-apply-stop"]
    assert workspace.destroy() == 2 and workspace.remaining() == ()
    (end,) = workspace.run.events("stack-destroy-stop")
    assert end["outcome"] == "finished"


def check_privacy(workspace: Workspace) -> None:
    """What is private stays with the owner, and out of the plan that others read."""
    assert stat.S_IMODE(workspace.folder.stat().st_mode) == 0o700
    for name in (STATE, "run.tfvars.json", "certificate/alb-key.pem", "apply.log"):
        assert stat.S_IMODE((workspace.folder / name).stat().st_mode) == 0o600, name
    assert "PRIVATE KEY" in (workspace.folder / STATE).read_text()
    plan = (workspace.folder / "plan.json").read_text()
    assert "PRIVATE KEY" not in plan and "(sensitive)" in plan
    assert str(workspace.run.folder) not in plan


def test_nothing_is_created_before_the_report_is_green_nor_from_another_plan(
    make: MakeWorkspace,
) -> None:
    workspace = make(settings="")
    planned(workspace)
    with pytest.raises(Problem, match="account has not been checked"):
        workspace.apply()
    forced = Profile.load_named("quick", "infrastructure.override_readiness=true")
    workspace = Workspace.for_run(Run(workspace.run.folder, forced), workspace.account)
    (workspace.folder / "plan.tfplan").write_bytes(b"another plan")
    with pytest.raises(Problem, match="no plan to apply whose cost is known"):
        workspace.apply()
    assert workspace.remaining() == () and not workspace.run.events("stack-apply-start")


def test_a_killed_kernel_leaves_a_state_from_which_destroy_goes_on(make: MakeWorkspace) -> None:
    workspace = make(zones=3)
    with applying(workspace) as notebook:
        with pytest.raises(Problem, match="working on this run in another notebook"):
            workspace.destroy()
        notebook.kill()
        notebook.wait()
        orphan = psutil.Process(json.loads((workspace.folder / RECORD).read_text())["pid"])
        assert not has_ended(orphan)
        assert workspace.destroy() >= 3
        assert has_ended(orphan) and workspace.remaining() == ()


def test_an_interrupt_reaches_terraform_once_and_its_state_is_written(make: MakeWorkspace) -> None:
    workspace = make(zones=3)
    with applying(workspace) as notebook:
        notebook.send_signal(signal.SIGINT)
        output, _ = notebook.communicate(timeout=PATIENCE_S)
    assert "Terraform completes what it started" in output and "KeyboardInterrupt" in output
    assert workspace.run.events("stack-apply-stop")[-1]["outcome"] == "interrupted"
    assert not (workspace.folder / RECORD).exists()
    assert "terraform_data.first[0]" in workspace.remaining()


def test_a_state_that_was_not_stored_or_is_torn_is_restored(
    make: MakeWorkspace, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace = make()
    planned(workspace)
    workspace.apply()
    state = workspace.folder / STATE
    state.rename(workspace.code / terraform.ERRORED)
    (workspace.folder / BACKUP).unlink(missing_ok=True)
    workspace.init()
    assert len(workspace.remaining()) == 2
    whole = state.read_text()
    state.write_text(whole[: len(whole) // 2])
    assert workspace.destroy() == 2
    assert "torn by a kill" in capsys.readouterr().out
