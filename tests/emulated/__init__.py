"""An emulated AWS account for tests: its faults, its world, and a record of what was asked.

In this process, without a server:

    with emulated.installed() as aws:
        aws.account.client("eks").list_clusters()        # helpers.cloud.account.Account
        aws.faults.add(emulated.Fault(kind="denied", service="ec2", operation="Describe*"))
        aws.world.quotas["L-3819A6DF"] = 0               # helpers.rehearsal.world.World
        aws.costs.lines = [emulated.CostLine(day=…, service=…, usd=1.5)]
        aws.calls                                        # [Line(service, action, resource, caller)]

Each `with` begins an empty account. It is addressed as AWS itself would be (no endpoint), so
`account.emulated` is false: what is tested is the way to AWS. `emulated.serving` is the same
account behind a server, for Terraform and every other program.
"""

from helpers.rehearsal.moto_extension import ACCOUNT_ID
from tests.emulated.cost_explorer import CostLine, Costs
from tests.emulated.faults import Fault
from tests.emulated.in_process import Emulated, installed
from tests.emulated.recording import Line
from tests.emulated.server import Emulator, of_run, serving

__all__ = [
    "ACCOUNT_ID",
    "CostLine",
    "Costs",
    "Emulated",
    "Emulator",
    "Fault",
    "Line",
    "installed",
    "of_run",
    "serving",
]
