"""On AWS without a login: the report says what to do, and nothing is created."""

import os
import subprocess
import sys
from pathlib import Path

from helpers import promises
from helpers.cloud.preflight import Readiness
from helpers.promises import Status
from helpers.run import Run

NOWHERE = {
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}


def test_without_a_login_the_report_says_so_and_nothing_is_created(tmp_path: Path) -> None:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    subprocess.run(
        [sys.executable, "-m", "helpers.cli", "run", "--profile", "aws", "--only", "00"],
        check=True,
        env=inherited | NOWHERE | {"GPU_E2E_OUTPUTS": str(tmp_path)},
        timeout=200,
    )
    run = Run.open(next(tmp_path.iterdir()).name, tmp_path)
    report = run.load(Readiness)
    assert report.blocking
    (login,) = report.blocking
    assert "no AWS credentials" in login.found and login.command == "aws sso login"
    quota = {promise.id: tick for promise, tick in promises.ticks(run).items()}["00.quota"]
    assert quota.status is Status.FAILED and "credentials" in quota.note
    assert not run.events("stack-apply-start")
