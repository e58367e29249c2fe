"""The readiness report: what is wrong with an account, and the command that corrects it."""

from collections.abc import Iterator
from unittest.mock import Mock

import pytest
import requests

from helpers.cloud import preflight, prices
from helpers.cloud.account import api_cidr, caller_address
from helpers.cloud.guardrails import BLOCKS, OK, WARN, Readiness, ReadinessVerdict, admit
from helpers.cloud.plan import Estimate, PlanFacts, PlannedResource
from helpers.cloud.preflight import CHECKS
from helpers.errors import Problem
from helpers.profile import Profile
from helpers.run import Run
from tests import emulated
from tests.emulated import Emulated, Fault

GPU = ("g4dn.xlarge",)
FORCED = "infrastructure.override_readiness=true"
Facts = tuple[ReadinessVerdict, str, str]


def answer(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Let the address service answer so."""
    response = requests.Response()
    response.status_code, response._content = 200, f"{address}\n".encode()
    monkeypatch.setattr(requests, "get", lambda *_, **__: response)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulated]:
    """An account that is asked as AWS would be; the address is nobody's."""
    answer(monkeypatch, "198.51.100.7")
    with emulated.installed() as aws:
        yield aws


def check(run: Run, aws: Emulated, *names: str) -> dict[str, Facts]:
    """Verdict, finding and command of each finding of some checks."""
    report = preflight.examine(run, aws.account, GPU, names)
    return {item.name: (item.verdict, item.found, item.command) for item in report.findings}


def changed(run: Run, settings: str) -> Run:
    return Run(run.folder, Profile.load_named("quick", settings))


def test_a_good_account_is_green_and_every_finding_has_a_command(run: Run, aws: Emulated) -> None:
    report = preflight.examine(run, aws.account, GPU)
    assert not report.blocking
    assert all(item.command for item in report.findings)
    for name in {*CHECKS} - {"roles"}:
        assert report.about(name), name
    assert run.load(Readiness) == report
    assert len(preflight.frame(report)) == len(report.findings)
    text = report.model_dump_json()
    assert emulated.ACCOUNT_ID not in text and "198.51.100.7" not in text
    assert "198.51.100.x" in text


def test_a_spot_quota_of_zero_blocks_and_more_is_requested_once(run: Run, aws: Emulated) -> None:
    aws.world.quotas |= {"L-3819A6DF": 0, "L-DB2E81BA": 0}
    findings = check(run, aws, "quota")
    assert findings["quota-on-demand-gpu"][0] is OK
    assert findings["quota-spot-gpu"] == (
        BLOCKS,
        "0; the stack needs up to 8",
        "aws service-quotas request-service-quota-increase --service-code ec2 "
        "--quota-code L-3819A6DF --desired-value 8 --region us-east-1",
    )
    aws.world.quota_requests["L-3819A6DF"] = 8
    verdict, text, command = check(run, aws, "quota")["quota-spot-gpu"]
    assert verdict is BLOCKS and "8 have been requested (PENDING)" in text
    assert "request-service-quota-increase" not in command
    aws.world.quota_requests.clear()
    aws.world.quotas["L-3819A6DF"] = None  # never changed: its default
    assert check(run, aws, "quota")["quota-spot-gpu"][:2] == (BLOCKS, "0; the stack needs up to 8")


def test_addresses_and_vpcs_of_others_take_room_and_ours_do_not(run: Run, aws: Emulated) -> None:
    own = [{"ResourceType": "vpc", "Tags": [{"Key": "run", "Value": run.run_id}]}]
    aws.account.client("ec2").create_vpc(CidrBlock="10.0.0.0/16", TagSpecifications=own)
    for _ in range(5):
        aws.account.client("ec2").allocate_address(Domain="vpc")
    findings = check(run, aws, "quota")
    verdict, text, command = findings["quota-addresses"]
    assert (verdict, text) == (BLOCKS, "5, 5 in use; the stack needs up to 1")
    assert "--service-code ec2 --quota-code L-0263D0A3 --desired-value 6" in command
    assert findings["quota-vpcs"][1] == "5, 1 in use; the stack needs up to 1"  # the default VPC


def test_without_billing_alerts_the_setting_is_named_and_no_alarm_is_claimed(
    run: Run, aws: Emulated
) -> None:
    assert check(run, aws, "alerts")["alarm-metric"][:2] == (OK, "published")
    aws.world.billing_alerts = False
    verdict, text, command = check(run, aws, "alerts")["alarm-metric"]
    assert verdict is WARN and "never go off" in text
    assert "'Receive CloudWatch billing alerts'" in command


def test_a_missing_spot_role_blocks_and_others_warn(run: Run, aws: Emulated) -> None:
    aws.world.service_linked_roles = ["eks"]
    findings = check(run, aws, "roles")
    verdict, _, command = findings["role-spot"]
    assert verdict is BLOCKS
    assert command == "aws iam create-service-linked-role --aws-service-name spot.amazonaws.com"
    assert findings["role-elasticloadbalancing"][0] is WARN and findings["role-eks"][0] is OK


def test_a_week_of_spot_prices_is_kept_and_one_above_the_cap_blocks(
    run: Run, aws: Emulated
) -> None:
    assert check(run, aws, "spot")["spot"][0] is OK
    history = run.load(prices.SpotHistory)
    assert history.days == pytest.approx(7) and not history.emulated
    table = prices.spot_frame(run)
    assert set(table["under the cap"]) == {"yes"} and len(table) == len(table["zone"].unique())
    assert ((table["least"] <= table["mean"]) & (table["mean"] <= table["most"])).all()
    aws.world.spot.score = 2
    assert check(run, aws, "placement")["placement"][:2] == (WARN, "use1-az6 2, use1-az1 2, "
        "use1-az2 2, use1-az4 2, use1-az3 2, use1-az5 2")  # fmt: skip
    aws.world.spot.usd = {"g4dn.xlarge": 0.45}
    verdict, text, _ = check(run, aws, "spot")["spot"]
    assert verdict is BLOCKS and "us-east-1a $0.4" in text and "week" in text


@pytest.mark.parametrize(
    ("setting", "name", "verdict", "text", "command"),
    [
        ('kubernetes_version="1.30"', "version", BLOCKS, "1.30",
         "-p infrastructure.kubernetes_version='\"1."),
        ("zones=2", "alerts", WARN, "nobody is notified", "infrastructure.alert_email="),
        ("alert_email=nancy@example.org", "alerts", OK, "an e-mail address is", "Confirm"),
        ("state_bucket=no-such-bucket-here", "state", BLOCKS, "does not exist",
         "aws s3 mb s3://no-such-bucket-here --region us-east-1"),
    ],
)  # fmt: skip
def test_what_the_profile_wants_is_checked(
    setting: str, name: str, verdict: str, text: str, command: str, run: Run, aws: Emulated
) -> None:
    facts = check(changed(run, f"infrastructure.{setting}"), aws, name)[name]
    assert facts[0] == verdict and text in facts[1] and command in facts[2]
    assert "nancy" not in "".join(facts)


def test_a_cluster_of_another_run_blocks_and_is_named(run: Run, aws: Emulated) -> None:
    (subnet, *_) = aws.account.client("ec2").describe_subnets()["Subnets"]
    aws.account.client("eks").create_cluster(
        name="gpu-e2e",
        roleArn=f"arn:aws:iam::{emulated.ACCOUNT_ID}:role/x",
        tags={"run": "earlier"},
        resourcesVpcConfig={"subnetIds": [subnet["SubnetId"]]},
    )
    verdict, text, command = check(run, aws, "free-name")["free-name"]
    assert (verdict, command) == (BLOCKS, "workbook resume earlier")
    assert "of run earlier" in text


def test_a_check_that_fails_does_not_hide_the_others(run: Run, aws: Emulated) -> None:
    aws.faults.add(Fault(kind="denied", service="service-quotas"))
    aws.faults.add(Fault(kind="throttled", service="eks"))
    findings = check(run, aws, "quota", "version", "alerts")
    verdict, text, command = findings["quota"]
    assert verdict is BLOCKS and "AWS denies" in text and "deployer role" in command
    verdict, text, command = findings["version"]
    assert verdict is BLOCKS and "throttles" in text and "Wait a minute" in command
    assert findings["alerts"][0] is WARN


def test_the_address_is_asked_once_and_again_only_by_stage_00(
    run: Run, aws: Emulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert api_cidr(run, aws.account) == "198.51.100.7/32"
    answer(monkeypatch, "198.51.100.8")
    assert api_cidr(run, aws.account) == "198.51.100.7/32"
    check(run, aws, "caller")
    assert api_cidr(run, aws.account) == "198.51.100.8/32"
    monkeypatch.setattr(requests, "get", Mock(side_effect=requests.ConnectionError))
    with pytest.raises(Problem, match=r"does not answer.*infrastructure.api_cidr"):
        caller_address(run, aws.account, refresh=True)


def plan_of(cost_usd: float = 1.0, unpriced: str = "", action: str = "create") -> PlanFacts:
    resource = PlannedResource.model_validate(
        {"address": "aws_vpc.this", "type": "aws_vpc", "action": action}
    )
    cost = Estimate(
        lines=(), session_hours=4, session_usd=1, session_most_usd=cost_usd, budget_usd=5,
        unpriced=tuple(filter(None, [unpriced])),
    )  # fmt: skip
    return PlanFacts(emulated=False, planned="", sha256="", resources=(resource,), cost=cost)


def test_nothing_is_created_before_the_report_is_green(run: Run, aws: Emulated) -> None:
    with pytest.raises(Problem, match=r"account has not been checked.*00-setup"):
        admit(run, plan_of())
    aws.world.quotas["L-3819A6DF"] = 0
    check(run, aws, "quota")
    with pytest.raises(Problem, match=r"until all readiness checks pass .*L-3819A6DF.*request-s"):
        admit(run, plan_of())
    admit(run, plan_of(99, action="none"))
    admit(changed(run, FORCED), plan_of(5.0))


@pytest.mark.parametrize(
    ("facts", "problem"),
    [
        (plan_of(5.01), r"may cost \$5.01, and kpis.cost_usd allows \$5.00"),
        (plan_of(unpriced="aws_db_instance"), "no price is known for aws_db_instance"),
    ],
)
def test_a_plan_above_the_budget_is_refused_even_when_overridden(
    facts: PlanFacts, problem: str, run: Run
) -> None:
    with pytest.raises(Problem, match=problem):
        admit(changed(run, FORCED), facts)
