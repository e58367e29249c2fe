"""An AWS account that is not there: moto, with what it lacks added and what it gets wrong mended.

For tests, in this process and without a server:

    from helpers.rehearsal import double

    with double.installed() as aws:
        aws.account.client("eks").list_clusters()        # helpers.cloud.account.Account
        aws.faults.add(double.Fault(kind="denied", service="ec2", operation="Describe*"))
        aws.faults.add(double.Fault(kind="expired"), double.Fault(kind="throttled", times=2))
        aws.faults.clear()
        aws.world.quotas["L-3819A6DF"] = 0               # see `world.World` for all there is
        aws.world.spot.available = False
        aws.world.costs.lines = [double.CostLine(day=…, service=…, usage_type=…, usd=1.5)]
        aws.world.costs.coverage = "late"                # empty, late, partial, disabled
        aws.calls                                        # [Line(service, action, resource, caller)]

Each `with` begins an empty account. In it the account is asked as AWS itself would be (no
endpoint), so that `account.emulated` is false: what is tested is the way to AWS. The same double
behind a server, for Terraform and everything else, is `helpers.rehearsal.emulator`.

An operation that neither moto nor the double knows is refused with the code `NotEmulated`.
"""

from helpers.rehearsal.double.faults import Fault
from helpers.rehearsal.double.inprocess import Double, installed
from helpers.rehearsal.double.recording import Line
from helpers.rehearsal.double.world import ACCOUNT_ID, CostLine, World

__all__ = ["ACCOUNT_ID", "CostLine", "Double", "Fault", "Line", "World", "installed"]
