"""`workbook down RUN --sweep` removes what carries the run's tag, and nothing else."""

import os
import subprocess
import sys

from helpers import processes
from helpers.cloud.account import Account
from helpers.cloud.sweep import Sweep
from helpers.rehearsal import emulator
from helpers.run import Run


def volume(account: Account, **tags: str) -> str:
    listed = [{"Key": name, "Value": value} for name, value in tags.items()]
    tagged = [{"ResourceType": "volume", "Tags": listed}]
    made = account.client("ec2").create_volume(
        AvailabilityZone="us-east-1a", Size=1, TagSpecifications=tagged
    )
    return str(made["VolumeId"])


def test_the_runs_own_leftover_goes_and_anothers_stays(run: Run) -> None:
    account = emulator.account(run)
    own = volume(account, project="gpu-e2e", run=run.run_id)
    other = volume(account, project="gpu-e2e", run="20200101T0000Z-aws")
    command = [sys.executable, "-m", "helpers.cli", "down", run.run_id, "--sweep"]
    environment = os.environ | {"GPU_E2E_OUTPUTS": str(run.folder.parent)}
    output = subprocess.check_output(command, env=environment, text=True, timeout=120)
    swept = {item.id: item.outcome for item in run.load(Sweep).swept}
    assert swept == {own: "removed", other: "untouched"}
    assert "1 removed, 1 untouched" in output
    assert not any(service.running for service in processes.recorded(run))
