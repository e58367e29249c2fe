"""What is said of a stack is what the account answers."""

import pytest

from helpers.cloud import stack
from helpers.cloud.stack import ANYWHERE, Stack
from helpers.run import Run

from .seeds import Seeds

OURS = "203.0.113.7/32"


@pytest.mark.parametrize(
    ("cidrs", "holds"), [([OURS], True), ([OURS, ANYWHERE], False), ([ANYWHERE], False)]
)
def test_a_cluster_that_every_address_reaches_does_not_hold(
    run: Run, own: Seeds, monkeypatch: pytest.MonkeyPatch, cidrs: list[str], holds: bool
) -> None:
    own.client("eks").create_cluster(
        name="c", roleArn=own.role, upgradePolicy={"supportType": "STANDARD"},
        resourcesVpcConfig={"subnetIds": own.subnets, "publicAccessCidrs": cidrs},
    )  # fmt: skip
    arns = {"alb_controller": own.role}
    made = Stack.model_construct(vpc_id=own.vpc, cluster_name="c", role_arns=arns)
    monkeypatch.setattr(Run, "load", lambda self, kind: made)
    assert stack.describe(run, own.account).cluster_holds is holds
