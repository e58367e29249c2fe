"""The Terraform code: formatted, valid, pinned on every platform, tested and scanned."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from helpers import programs
from helpers.cloud.account import Account
from tests.infra.terraform import BOOTSTRAP, INFRA, Terraform

ROOTS = (INFRA, BOOTSTRAP)
PLATFORMS = 15  # archives of hashicorp/aws 5.100.0 whose hashes are published, manifest included
REASON = re.compile(r"#checkov:skip=(CKV2?_\w+)(?::\s*(\S.{10,}))?")
each_root = pytest.mark.parametrize("root", ROOTS, ids=lambda root: root.name)


def code(folder: Path) -> str:
    """All of a root module."""
    return "\n".join(path.read_text() for path in sorted(folder.glob("*.tf")))


def test_code_is_formatted(program: Path) -> None:
    command = [str(program), "fmt", "-check", "-recursive", "-list=true", str(INFRA)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("root", ["stack", "bootstrap"])
def test_code_is_valid_and_its_native_tests_pass(root: str, request: pytest.FixtureRequest) -> None:
    terraform: Terraform = request.getfixturevalue(root)
    valid = json.loads(terraform("validate", "-json").stdout)
    assert valid["valid"] and valid["warning_count"] == 0, valid["diagnostics"]
    done = terraform("test", "-json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    failed = [line["@message"] for line in lines if line["@level"] == "error"]
    assert done.returncode == 0, "\n".join(failed)
    summary = next(line["test_summary"] for line in lines if line["type"] == "test_summary")
    assert summary["status"] == "pass" and summary["passed"] > 2


@each_root
def test_one_provider_is_pinned_on_every_platform_and_no_module_is_fetched(root: Path) -> None:
    assert re.findall(r'source\s*=\s*"([^"]+)"', code(root)) == ["hashicorp/aws"]
    assert not re.search(r"^module ", code(root), re.MULTILINE)
    assert re.findall(r'^\s+version\s+= "([^"]+)"', code(root), re.MULTILINE) == ["= 5.100.0"]
    lock = (root / ".terraform.lock.hcl").read_text()
    assert re.findall(r'version\s+= "([\d.]+)"', lock) == ["5.100.0"]
    assert len(set(re.findall(r'"zh:[0-9a-f]{64}"', lock))) == PLATFORMS
    assert '"h1:' in lock, "a mirror on this machine is unpacked, and has no archive to hash"


def test_state_goes_to_s3_by_one_file_and_holds_a_lock_there(
    program: Path, account: Account, tmp_path: Path
) -> None:
    s3 = account.client("s3")
    s3.create_bucket(Bucket="state-of-a-test")
    shutil.copytree(INFRA / "backends", tmp_path / "backends")
    shutil.copy(INFRA / "backends/s3.tf", tmp_path / "backend_override.tf")
    (tmp_path / "main.tf").write_text('resource "terraform_data" "x" {}\n')
    settings = tmp_path / "backends/s3.tfbackend"
    settings.write_text(settings.read_text().replace("CHANGE-ME", "state-of-a-test"))
    terraform = Terraform(program, tmp_path, tmp_path / "data", account.environment)
    for command in (("init", f"-backend-config={settings}"), ("apply", "-auto-approve")):
        done = terraform(*command)
        assert done.returncode == 0, done.stderr
    objects = s3.list_objects_v2(Bucket="state-of-a-test")["Contents"]
    assert [item["Key"] for item in objects] == ["gpu-e2e/terraform.tfstate"]
    assert not list(tmp_path.glob("*.tfstate")), "nothing of the state stays here"
    s3.put_object(
        Bucket="state-of-a-test",
        Key="gpu-e2e/terraform.tfstate.tflock",
        Body=json.dumps({"ID": "4711", "Who": "somebody else"}),
    )
    refused = terraform("plan", "-no-color", "-lock-timeout=0s")
    assert "Error acquiring the state lock" in refused.stderr


@each_root
def test_every_variable_is_typed_and_described_and_its_validation_seen_to_refuse(
    root: Path,
) -> None:
    blocks = re.split(r"^variable ", (root / "variables.tf").read_text(), flags=re.MULTILINE)[1:]
    for block in blocks:
        assert re.search(r"^  type\s+=", block, re.MULTILINE), block
        assert re.search(r"^  description\s+=", block, re.MULTILINE), block
    validated = {block.split('"')[1] for block in blocks if "validation {" in block}
    tests = "\n".join(path.read_text() for path in (root / "tests").glob("*.tftest.hcl"))
    expected = "\n".join(re.findall(r"expect_failures[^\]]+", tests))
    assert len(validated) > 4 and set(re.findall(r"var\.(\w+)", expected)) == validated


def test_checkov_finds_nothing_and_each_skip_has_its_reason() -> None:
    skips = [match for root in ROOTS for match in REASON.findall(code(root))]
    assert skips and all(reason for _, reason in skips), skips
    program = programs.find("checkov")
    if program is None:
        pytest.skip("there is no checkov here: 'make setup' names the way to it")
    command = [str(program), "--directory", str(INFRA), "--framework", "terraform"]
    command += ["--quiet", "--compact", "--skip-download", "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True)
    report = json.loads(done.stdout[done.stdout.index("{") :])
    failed = [
        f"{check['check_id']} {check['resource']} {check['check_name']}"
        for check in report["results"]["failed_checks"]
    ]
    assert done.returncode == 0 and not failed, "\n".join(failed)
    assert report["summary"]["passed"] > 200 and report["summary"]["parsing_errors"] == 0
