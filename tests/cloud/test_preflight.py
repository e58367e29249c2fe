"""The readiness report tells what is wrong with an account, and the command that mends it."""

from collections.abc import Iterator

import pytest
import requests

from helpers.cloud import account, preflight, prices
from helpers.cloud.account import Account, api_cidr
from helpers.cloud.guardrails import admit
from helpers.cloud.plan import Estimate, PlanFacts, PlannedResource
from helpers.cloud.preflight import CHECKS, Readiness, ReadinessVerdict
from helpers.errors import Problem
from helpers.profile import Profile
from helpers.run import Run
from tests import emulated
from tests.emulated import Emulated, Fault

GPU = ("g4dn.xlarge",)


def answers(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """The address service answers so."""
    answer = requests.Response()
    answer.status_code, answer._content = 200, f"{address}\n".encode()
    monkeypatch.setattr(requests, "get", lambda *_, **__: answer)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulated]:
    """An account that is asked as AWS would be; the address is nobody's."""
    answers(monkeypatch, "198.51.100.7")
    with emulated.installed() as aws:
        yield aws


def ask(run: Run, aws: Emulated, *names: str) -> Readiness:
    """The report of some checks alone."""
    return preflight.examine(run, aws.account, GPU, names)


def one(report: Readiness, name: str) -> tuple[str, str, str]:
    """ReadinessVerdict, finding and command of one finding."""
    (found,) = (finding for finding in report.findings if finding.name == name)
    return found.verdict, found.found, found.command


def changed(run: Run, settings: str) -> Run:
    profile = Profile.load_named("quick", settings)
    return Run.create(profile, run.folder.parent / "changed")


def test_a_good_account_is_green_and_every_finding_has_a_command(run: Run, aws: Emulated) -> None:
    report = preflight.examine(run, aws.account, GPU)
    assert not report.blocking
    assert all(found.command for found in report.findings)
    assert set(CHECKS) <= {
        found.name.partition("-")[0] if found.name != "free-name" else "free-name"
        for found in report.findings
    } | {"roles"}
    assert run.load(Readiness) == report
    assert len(preflight.frame(report)) == len(report.findings)


def test_the_accounts_number_and_the_callers_address_are_not_shown(run: Run, aws: Emulated) -> None:
    text = ask(run, aws, "caller").model_dump_json()
    assert emulated.ACCOUNT_ID not in text and "198.51.100.7" not in text
    assert "198.51.100.x" in text


def test_a_spot_quota_of_zero_blocks_and_gives_the_exact_request(run: Run, aws: Emulated) -> None:
    aws.world.quotas["L-3819A6DF"] = 0
    verdict, found, command = one(ask(run, aws, "quota"), "quota-spot-gpu")
    assert (verdict, found) == (ReadinessVerdict.BLOCKS, "0; the stack needs up to 8")
    assert command == (
        "aws service-quotas request-service-quota-increase --service-code ec2 "
        "--quota-code L-3819A6DF --desired-value 8 --region us-east-1"
    )


def test_a_quota_that_was_asked_for_is_not_asked_for_again(run: Run, aws: Emulated) -> None:
    aws.world.quotas["L-3819A6DF"] = 0
    aws.account.client("service-quotas").request_service_quota_increase(
        ServiceCode="ec2", QuotaCode="L-3819A6DF", DesiredValue=8
    )
    verdict, found, command = one(ask(run, aws, "quota"), "quota-spot-gpu")
    assert verdict == ReadinessVerdict.BLOCKS and "8 have been requested (PENDING)" in found
    assert "request-service-quota-increase" not in command


def test_what_the_stack_does_not_need_may_be_zero(run: Run, aws: Emulated) -> None:
    aws.world.quotas["L-DB2E81BA"] = 0
    assert one(ask(run, aws, "quota"), "quota-on-demand-gpu")[0] == ReadinessVerdict.OK


def test_a_missing_spot_role_blocks_and_others_warn(run: Run, aws: Emulated) -> None:
    aws.world.service_linked_roles = ["eks"]
    report = ask(run, aws, "roles")
    verdict, _, command = one(report, "role-spot")
    assert verdict == ReadinessVerdict.BLOCKS
    assert command == "aws iam create-service-linked-role --aws-service-name spot.amazonaws.com"
    assert one(report, "role-elasticloadbalancing")[0] == ReadinessVerdict.WARN
    assert one(report, "role-eks")[0] == ReadinessVerdict.OK


def test_a_spot_price_above_the_cap_blocks(run: Run, aws: Emulated) -> None:
    aws.world.spot.usd = {"g4dn.xlarge": 0.45}
    verdict, found, _ = one(ask(run, aws, "spot"), "spot")
    assert verdict == ReadinessVerdict.BLOCKS and "us-east-1a $0.4" in found and "week" in found


def test_a_week_of_spot_prices_is_kept_by_zone(run: Run, aws: Emulated) -> None:
    assert one(ask(run, aws, "spot"), "spot")[0] == ReadinessVerdict.OK
    history = run.load(prices.SpotHistory)
    assert history.days == pytest.approx(7) and not history.emulated
    table = prices.spot_frame(run)
    assert set(table["under the cap"]) == {"yes"} and len(table) == len(table["zone"].unique())
    assert ((table["least"] <= table["mean"]) & (table["mean"] <= table["most"])).all()


def test_a_version_out_of_standard_support_blocks_and_names_a_better_one(
    run: Run, aws: Emulated
) -> None:
    old = run.profile.infrastructure.model_copy(update={"kubernetes_version": "1.30"})
    older = Run(run.folder, run.profile.model_copy(update={"infrastructure": old}))
    verdict, found, command = one(ask(older, aws, "version"), "version")
    assert verdict == ReadinessVerdict.BLOCKS and "1.30" in found
    assert "-p infrastructure.kubernetes_version=1." in command


def test_a_cluster_of_another_run_blocks_and_is_named(run: Run, aws: Emulated) -> None:
    (subnet, *_) = aws.account.client("ec2").describe_subnets()["Subnets"]
    aws.account.client("eks").create_cluster(
        name="gpu-e2e",
        roleArn=f"arn:aws:iam::{emulated.ACCOUNT_ID}:role/x",
        tags={"run": "earlier"},
        resourcesVpcConfig={"subnetIds": [subnet["SubnetId"]]},
    )
    verdict, found, command = one(ask(run, aws, "free-name"), "free-name")
    assert (verdict, command) == (ReadinessVerdict.BLOCKS, "workbook resume earlier")
    assert "of run earlier" in found


def test_nobody_told_is_a_warning(run: Run, aws: Emulated) -> None:
    assert one(ask(run, aws, "alerts"), "alerts")[0] == ReadinessVerdict.WARN
    told = changed(run, "infrastructure.alert_email=nancy@example.org")
    report = ask(told, aws, "alerts")
    assert one(report, "alerts")[0] == ReadinessVerdict.OK
    assert "nancy@example.org" not in report.model_dump_json()


def test_a_state_bucket_that_is_missing_blocks(run: Run, aws: Emulated) -> None:
    chosen = run.profile.infrastructure.model_copy(update={"state_bucket": "no-such-bucket-here"})
    there = Run(run.folder, run.profile.model_copy(update={"infrastructure": chosen}))
    verdict, found, command = one(ask(there, aws, "state"), "state")
    assert verdict == ReadinessVerdict.BLOCKS and "does not exist" in found
    assert command == "aws s3 mb s3://no-such-bucket-here --region us-east-1"


def test_expired_credentials_are_the_only_finding(run: Run, aws: Emulated) -> None:
    aws.faults.add(Fault(kind="expired"))
    report = preflight.examine(run, aws.account, GPU)
    (found,) = report.findings
    assert found.verdict == ReadinessVerdict.BLOCKS and "expired" in found.found
    assert found.command == "aws sso login"


def test_a_check_that_is_denied_does_not_hide_the_others(run: Run, aws: Emulated) -> None:
    aws.faults.add(Fault(kind="denied", service="service-quotas"))
    report = ask(run, aws, "quota", "version")
    verdict, found, command = one(report, "quota")
    assert verdict == ReadinessVerdict.BLOCKS and "AWS denies" in found
    assert "deployer role" in command
    assert one(report, "version")[0] == ReadinessVerdict.OK


def test_throttling_is_a_finding_with_patience_as_its_remedy(run: Run, aws: Emulated) -> None:
    aws.faults.add(Fault(kind="throttled", service="eks"))
    verdict, found, command = one(ask(run, aws, "version"), "version")
    assert verdict == ReadinessVerdict.BLOCKS and "throttles" in found
    assert "Wait a minute" in command


def test_the_address_is_asked_once_and_again_only_by_stage_00(
    run: Run, aws: Emulated, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert api_cidr(run, aws.account) == "198.51.100.7/32"
    answers(monkeypatch, "198.51.100.8")
    assert api_cidr(run, aws.account) == "198.51.100.7/32"
    ask(run, aws, "caller")
    assert api_cidr(run, aws.account) == "198.51.100.8/32"


def test_an_address_service_that_is_away_is_a_sentence(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "ADDRESS_SERVICE", "http://127.0.0.1:1")
    with pytest.raises(Problem, match=r"does not answer.*infrastructure.api_cidr"):
        api_cidr(run, Account(run.profile.region))


def plan_of(
    cost_usd: float = 1.0, unpriced: tuple[str, ...] = (), action: str = "create"
) -> PlanFacts:
    resource = PlannedResource.model_validate(
        {"address": "aws_vpc.this", "type": "aws_vpc", "action": action}
    )
    cost = Estimate(
        lines=(), session_hours=4, session_usd=1, session_most_usd=cost_usd, budget_usd=5,
        unpriced=unpriced,
    )  # fmt: skip
    return PlanFacts(emulated=False, planned="", sha256="", resources=(resource,), cost=cost)


def test_nothing_is_created_before_the_report_is_written(run: Run) -> None:
    with pytest.raises(Problem, match=r"account has not been checked.*00-setup"):
        admit(run, plan_of())


def test_nothing_is_created_before_the_report_is_green(run: Run, aws: Emulated) -> None:
    aws.world.quotas["L-3819A6DF"] = 0
    ask(run, aws, "quota")
    with pytest.raises(
        Problem,
        match=r"until all readiness checks pass .*L-3819A6DF.*request-s",
    ):
        admit(run, plan_of())


def test_the_report_can_be_overridden_on_purpose(run: Run) -> None:
    admit(changed(run, "infrastructure.override_readiness=true"), plan_of())


def test_a_plan_above_the_budget_is_refused_even_when_overridden(run: Run) -> None:
    forced = changed(run, "infrastructure.override_readiness=true")
    with pytest.raises(Problem, match=r"may cost \$5.01, and kpis.cost_usd allows \$5.00"):
        admit(forced, plan_of(5.01))
    admit(forced, plan_of(5.0))


def test_a_plan_whose_price_is_not_known_is_refused(run: Run) -> None:
    forced = changed(run, "infrastructure.override_readiness=true")
    with pytest.raises(Problem, match="no price is known for aws_db_instance"):
        admit(forced, plan_of(unpriced=("aws_db_instance",)))


def test_a_plan_without_changes_needs_no_permission(run: Run) -> None:
    admit(run, plan_of(99, action="none"))
