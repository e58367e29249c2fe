"""What Terraform says becomes one sentence with the next step; where providers come from."""

import http.server
import json
import re
from pathlib import Path

import pytest

from helpers.cloud import terraform, terraform_process
from helpers.cloud.account import Account
from helpers.cloud.terraform import Workspace, find_provider
from helpers.cloud.terraform_process import Progress
from helpers.errors import Unavailable
from helpers.paths import ROOT
from helpers.run import Run
from tests.listening import listening

# Texts as Terraform 1.11 and the provider 5.100 write them.
NEXT_STEPS = {
    "api error ExpiredToken: The security token included in the request is expired": "sso login",
    "No valid credential sources found": "Log in again",
    "api error UnauthorizedOperation: You are not authorized to perform this operation.": (
        "deployer role"
    ),
    "is not authorized to perform: eks:CreateCluster on resource": "deployer role",
    "VcpuLimitExceeded: You have requested more vCPU capacity than your current limit": "00-setup",
    "api error Throttling: Rate exceeded": "Wait a minute",
    "EntityAlreadyExists: Role with name gpu-e2e-cluster already exists.": "run 06 of that run",
    "ResourceInUseException: Cluster already exists with name: gpu-e2e": "run 06 of that run",
    "api error DependencyViolation: Network vpc-1 has some mapped public address(es)": (
        "names what it is"
    ),
    "Saved plan is stale": "Plan again",
    "dial tcp 127.0.0.1:4566: connect: connection refused": "cannot be reached",
    "S3 bucket \"x\" does not exist.": "infrastructure.state_bucket",
    "Failed to query available provider packages": "TF_PROVIDER_MIRROR",
    "Error acquiring the state lock: ID: 1b2c-3d Who: nancy@laptop": "force-unlock",
}  # fmt: skip


def line(summary: str, detail: str = "", address: str = "") -> str:
    error = {"severity": "error", "summary": summary, "detail": detail, "address": address}
    return json.dumps({"type": "diagnostic", "diagnostic": error})


@pytest.mark.parametrize("text", NEXT_STEPS)
def test_each_known_failure_has_its_next_step(text: str) -> None:
    progress = Progress()
    progress.read(line("creating something", text, "aws_thing.this"))
    problem = progress.problem("apply the plan", "terraform/apply.log")
    assert text.rstrip(".").split(":")[-1].strip() in problem.what
    assert "[aws_thing.this]" in problem.what and NEXT_STEPS[text] in problem.next_step


def test_more_errors_are_counted_and_account_ids_masked() -> None:
    progress = Progress()
    progress.read(line("creating", "arn:aws:iam::" + "210987654321:role/x is odd"))
    progress.read(line("another"))
    problem = progress.problem("apply the plan", "terraform/apply.log")
    assert "(1 more errors in terraform/apply.log)" in problem.what
    assert "210987654321" not in str(problem)
    crashed = Progress()
    crashed.read("panic: runtime error")  # which speaks no protocol
    assert "panic: runtime error" in str(crashed.problem("plan", "plan.log"))


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


NOWHERE = "http://127.0.0.1:1/"


def test_a_named_mirror_comes_first_then_the_registry_then_a_folder_or_it_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}
    folder, mirror = tmp_path / "terraform" / "plugins", tmp_path / "mirror"
    for place in (folder, mirror):
        (place / terraform.PROVIDER).mkdir(parents=True)
    server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    with listening(server):
        registry = f"http://127.0.0.1:{server.server_port}/"
        named = find_provider(environment | {terraform.MIRROR: str(mirror)}, registry)
        assert named.arguments == (f"-plugin-dir={mirror}",)
        online = find_provider(environment, registry)
        assert not online.arguments and "TF_PLUGIN_CACHE_DIR" in online.environment
    assert find_provider(environment, NOWHERE).arguments == (f"-plugin-dir={folder}",)
    monkeypatch.setattr(terraform, "_plugin_folders", lambda _environment: [tmp_path])
    with pytest.raises(Unavailable, match=r"is not available.*TF_PROVIDER_MIRROR"):
        find_provider({}, NOWHERE)
    with pytest.raises(Unavailable, match="terraform providers mirror"):
        find_provider({terraform.MIRROR: str(tmp_path)}, NOWHERE)


def workspace(run: Run) -> Workspace:
    return Workspace(run, Account("us-east-1", NOWHERE), Path("terraform"))


def test_every_variable_of_the_stack_that_a_profile_decides_is_passed(run: Run) -> None:
    code = (ROOT / "infra" / "variables.tf").read_text()
    declared = set(re.findall(r'^variable "(\w+)"', code, re.MULTILINE))
    passed = workspace(run)._variables()
    assert set(passed) <= declared
    assert declared - set(passed) == {"vpc_cidr", "service_cidr", "admin_arns"}


def test_the_state_is_local_unless_a_bucket_is_named(run: Run) -> None:
    assert workspace(run)._backend() == {"local": {"path": "../terraform.tfstate"}}
    chosen = run.profile.infrastructure.model_copy(update={"state_bucket": "mine"})
    there = Run(run.folder, run.profile.model_copy(update={"infrastructure": chosen}))
    remote = workspace(there)._backend()["s3"]
    assert remote["bucket"] == "mine" and remote["use_lockfile"] and remote["encrypt"]
    assert run.run_id in remote["key"] and remote["region"] == run.profile.region


def test_nothing_that_a_user_set_for_terraform_changes_a_run(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CLI_ARGS_plan", "-destroy")
    monkeypatch.setenv("TF_WORKSPACE", "other")
    monkeypatch.setenv("TF_CLI_CONFIG_FILE", str(tmp_path / "missing"))
    environment = workspace(run)._environment()
    kept = {name for name in environment if name.startswith("TF_")}
    assert kept == {"TF_IN_AUTOMATION"} and environment["CHECKPOINT_DISABLE"] == "1"


def test_the_newer_of_two_copies_of_a_torn_state_is_put_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = tmp_path / terraform_process.STATE
    state.write_text("{")
    terraform_process.repair_state(tmp_path)
    (tmp_path / terraform_process.KEPT).write_text('{"serial": 9}')
    (tmp_path / terraform_process.BACKUP).write_text('{"serial": 2}')
    terraform_process.repair_state(tmp_path)
    none, repaired = capsys.readouterr().out.splitlines()
    assert "no whole copy" in none and "serial 9" in repaired
    assert json.loads(state.read_text()) == {"serial": 9}
