"""What Terraform says becomes one sentence with the next step; where providers come from."""

import http.server
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.cloud import terraform, terraform_process
from helpers.cloud.account import Account
from helpers.cloud.stack import Stack
from helpers.cloud.terraform import Workspace, find_provider
from helpers.cloud.terraform_process import Progress, Terraform
from helpers.errors import Unavailable
from helpers.paths import ROOT
from helpers.run import Run
from tests.listening import listening

# Texts as Terraform 1.11 and the provider 5.100 write them.
SAID = {
    "api error ExpiredToken: The security token included in the request is expired": "sso login",
    "No valid credential sources found": "Log in again",
    "api error UnauthorizedOperation: You are not authorized to perform this operation.": (
        "deployer role"
    ),
    "is not authorized to perform: eks:CreateCluster on resource": "deployer role",
    "VcpuLimitExceeded: You have requested more vCPU capacity than your current limit": "00-setup",
    "api error Throttling: Rate exceeded": "wait a minute",
    "EntityAlreadyExists: Role with name gpu-e2e-cluster already exists.": "run 06 of that run",
    "ResourceInUseException: Cluster already exists with name: gpu-e2e": "run 06 of that run",
    "api error DependencyViolation: Network vpc-1 has some mapped public address(es)": (
        "removes load balancers first"
    ),
    "Saved plan is stale": "Plan again",
    "dial tcp 127.0.0.1:4566: connect: connection refused": "cannot be reached",
    "S3 bucket \"x\" does not exist.": "infrastructure.state_bucket",
    "Failed to query available provider packages": "TF_PROVIDER_MIRROR",
}  # fmt: skip
LOCKED = """Error acquiring the state lock: PreconditionFailed: At least one of the pre-conditions
you specified did not hold. Lock Info: ID: 1b2c-3d Path: x/terraform.tfstate Operation:
OperationTypeApply Who: nancy@laptop Created: 2026-11-25 00:01:02 UTC"""


def line(summary: str, detail: str = "", address: str = "") -> str:
    said = {"severity": "error", "summary": summary, "detail": detail, "address": address}
    return json.dumps({"type": "diagnostic", "diagnostic": said})


@pytest.mark.parametrize("text", SAID)
def test_each_known_failure_has_its_next_step(text: str) -> None:
    progress = Progress()
    progress.read(line("creating something", text, "aws_thing.this"))
    problem = progress.problem("apply the plan", "terraform/apply.log")
    assert text.rstrip(".").split(":")[-1].strip() in problem.what
    assert "[aws_thing.this]" in problem.what and SAID[text] in problem.next_step


def test_a_stale_lock_is_explained_with_its_holder_and_how_to_remove_it() -> None:
    progress = Progress()
    progress.read(line(*LOCKED.split(": ", 1)))
    problem = progress.problem("plan", "terraform/plan.log")
    assert "ID: 1b2c-3d" in problem.what and "Who: nancy@laptop" in problem.what
    assert "Workspace.unlock" in problem.next_step and "wait for it" in problem.next_step


def test_more_errors_are_counted_and_account_ids_masked() -> None:
    progress = Progress()
    progress.read(line("creating", "arn:aws:iam::" + "210987654321:role/x is odd"))
    progress.read(line("another"))
    problem = progress.problem("apply the plan", "terraform/apply.log")
    assert "(1 more errors in terraform/apply.log)" in problem.what
    assert "210987654321" not in str(problem)


def test_a_crash_that_speaks_no_protocol_is_quoted() -> None:
    progress = Progress()
    progress.read("panic: runtime error")
    assert "panic: runtime error" in str(progress.problem("plan", "plan.log"))


def test_one_line_a_resource_and_one_in_thirty_seconds_for_a_slow_one() -> None:
    progress = Progress(total=2)

    def hook(kind: str, seconds: float, action: str = "create") -> str:
        resource = {"addr": "aws_eks_cluster.this"}
        body = {"resource": resource, "action": action, "elapsed_seconds": seconds}
        return progress.read(json.dumps({"type": kind, "hook": body}))

    assert hook("apply_progress", 10) == ""
    assert "after 30 s" in hook("apply_progress", 30)
    assert hook("apply_progress", 40) == ""
    assert hook("apply_complete", 0, "read") == "" and progress.done == 0
    assert hook("apply_complete", 61) == "[1/2] aws_eks_cluster.this created in 61 s"


@pytest.fixture
def registry() -> Iterator[str]:
    made = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    with listening(made) as server:
        yield f"http://127.0.0.1:{server.server_port}/"


NOWHERE = "http://127.0.0.1:1/"


def test_a_named_mirror_comes_before_the_registry(tmp_path: Path, registry: str) -> None:
    (tmp_path / terraform.PROVIDER).mkdir(parents=True)
    route = find_provider({terraform.MIRROR: str(tmp_path)}, registry)
    assert route.arguments == [f"-plugin-dir={tmp_path}"]


def test_a_registry_that_answers_needs_no_folder(tmp_path: Path, registry: str) -> None:
    route = find_provider({"HOME": str(tmp_path)}, registry)
    assert route.folder is None and route.arguments == []


def test_where_the_registry_is_away_a_folder_is_found(tmp_path: Path) -> None:
    mirror = tmp_path / "data" / "terraform" / "plugins"
    (mirror / terraform.PROVIDER).mkdir(parents=True)
    environment = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path / "data")}
    assert find_provider(environment, NOWHERE).folder == mirror


def test_a_mirror_without_the_provider_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="terraform providers mirror"):
        find_provider({terraform.MIRROR: str(tmp_path)}, NOWHERE)


def test_no_way_to_the_provider_makes_the_stage_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terraform, "_mirror_folders", lambda _environment: iter([tmp_path]))
    with pytest.raises(Unavailable, match=r"is not available.*TF_PROVIDER_MIRROR"):
        find_provider({}, NOWHERE)


def workspace(run: Run) -> Workspace:
    account = Account("us-east-1", NOWHERE)
    return Workspace(run, account, Terraform(Path("terraform"), run.folder, account, "mark"))


def test_every_variable_of_the_stack_that_a_profile_decides_is_passed(run: Run) -> None:
    declared = set(re.findall(r'^variable "(\w+)"', _infra("variables.tf"), re.MULTILINE))
    passed = workspace(run)._variables("a.pem", "b.pem")
    assert set(passed) <= declared
    assert declared - set(passed) == {"vpc_cidr", "service_cidr", "admin_arns"}


def test_the_record_of_the_stack_has_every_output() -> None:
    made = set(re.findall(r'^output "(\w+)"', _infra("outputs.tf"), re.MULTILINE))
    wanted = set(Stack.model_fields) - {"emulated", "applied", "stack_name"} | {"name"}
    assert wanted <= made


def test_the_state_is_local_unless_a_bucket_is_named(run: Run) -> None:
    assert workspace(run)._backend() == {"local": {"path": "../terraform.tfstate"}}
    chosen = run.profile.infrastructure.model_copy(update={"state_bucket": "mine"})
    there = Run(run.folder, run.profile.model_copy(update={"infrastructure": chosen}))
    remote = workspace(there)._backend()["s3"]
    assert remote["bucket"] == "mine" and remote["use_lockfile"] and remote["encrypt"]
    assert run.run_id in remote["key"] and remote["region"] == run.profile.region


def test_nothing_that_a_user_set_for_terraform_changes_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CLI_ARGS_plan", "-destroy")
    monkeypatch.setenv("TF_WORKSPACE", "other")
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(tmp_path / "missing"))
    program = Terraform(Path("terraform"), tmp_path, Account("us-east-1", NOWHERE), "mark")
    found = program._environment()
    kept = {name for name in found if name.startswith("TF_")}
    assert kept == {"TF_IN_AUTOMATION"} and found["CHECKPOINT_DISABLE"] == "1"


def test_a_torn_state_without_any_copy_is_said(tmp_path: Path) -> None:
    (tmp_path / terraform_process.STATE).write_text('{"serial": 3')
    assert "no whole copy" in terraform_process.repair_state(tmp_path)


def test_the_newer_of_two_copies_is_put_back(tmp_path: Path) -> None:
    (tmp_path / terraform_process.STATE).write_text("{")
    (tmp_path / terraform_process.KEPT).write_text('{"serial": 9}')
    (tmp_path / terraform_process.BACKUP).write_text('{"serial": 2}')
    assert "serial 9" in terraform_process.repair_state(tmp_path)
    assert json.loads((tmp_path / terraform_process.STATE).read_text()) == {"serial": 9}


def _infra(name: str) -> str:
    return (ROOT / "infra" / name).read_text()
