"""Checks the account before anything is created: the readiness report of stage 00."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from botocore.exceptions import ClientError

from helpers.cloud.account import (
    ADDRESS_SERVICE,
    GLOBAL_REGION,
    ROLE,
    Account,
    asking,
    caller_address,
    credentials_fault,
    error_code,
    identity,
    is_not_found,
    permissions,
)
from helpers.cloud.guardrails import (
    BLOCKS,
    OK,
    SIGNS,
    WARN,
    Readiness,
    ReadinessFinding,
    charges_are_published,
)
from helpers.cloud.prices import record_spot_prices
from helpers.errors import Problem, Unavailable
from helpers.profile import InfrastructureSettings
from helpers.run import Run, now

TABLES: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("preflight.yaml").read_text())
SHOW_CHARGES = f"aws cloudwatch list-metrics --namespace AWS/Billing --region {GLOBAL_REGION}"
RENEWED = (
    "Use a profile that is renewed: 'aws configure sso', credential_process, or role_arn with "
    "source_profile (with mfa_serial also duration_seconds); docs/aws.md has an example"
)
LIKELY = 4  # spot placement scores below are shown as a warning


@dataclass(frozen=True)
class Context:
    """What every check needs; `gpu_types` are instance types, first choice first."""

    run: Run
    account: Account
    gpu_types: tuple[str, ...]

    @property
    def stack(self) -> InfrastructureSettings:
        """What the profile says about the stack."""
        return self.run.profile.infrastructure

    def rerun(self, setting: str) -> str:
        """The command for a run with another setting of the stack."""
        return f"workbook run --profile {self.run.profile.name} -p infrastructure.{setting}"

    def rows(self, service: str, call: str, path: str, **arguments: Any) -> list[Any]:
        """What is at `path` (JMESPath) in all pages of a list."""
        pages = self.account.client(service).get_paginator(call).paginate(**arguments)
        return list(pages.search(path))

    def zones(self) -> list[str]:
        """The availability zones that the stack may use; the first ones hold the cluster."""
        wanted = {"state": "available", "opt-in-status": "opt-in-not-required"}
        filters = [{"Name": name, "Values": [value]} for name, value in wanted.items()]
        with asking("the availability zones"):
            answer = self.account.client("ec2").describe_availability_zones(Filters=filters)
        zones = answer["AvailabilityZones"]
        return sorted(z["ZoneName"] for z in zones if z["ZoneId"] not in TABLES["no_control_plane"])


def examine(
    run: Run,
    account: Account,
    gpu_types: Sequence[str],
    only: Iterable[str] = (),
    more: Iterable[ReadinessFinding] = (),
) -> Readiness:
    """Run the checks (all, or those named in `only`), and store them with `more` of other rooms.

    A check that AWS does not answer becomes a finding; without credentials it is the only one.
    """
    context, caller = Context(run, account, tuple(gpu_types)), ""
    try:
        who = identity(account)
        caller = who.shown
        number = "*" * 8 + who.account_id[-4:]
        text = f"{caller} in account {number}, region {account.region}"
        findings = [_finding("identity", "Identity", text, OK, "aws sts get-caller-identity")]
        if not account.emulated and (fault := credentials_fault(context.stack.ttl_hours)):
            findings.append(_finding("credentials", "Credentials", fault, BLOCKS, RENEWED))
        chosen = set(only) or set(CHECKS)
        findings += [item for name in CHECKS if name in chosen for item in _check(name, context)]
    except Problem as problem:
        findings = [_finding("identity", "Identity", problem.what, BLOCKS, "aws sso login")]
    findings += more
    report = Readiness(emulated=account.emulated, region=account.region, asked=now(),
                       identity=caller, findings=tuple(findings))  # fmt: skip
    return run.save(report)


def frame(report: Readiness) -> pd.DataFrame:
    """One row for each finding."""
    rows = [
        (SIGNS[item.verdict], item.title, item.found, str(item.verdict), item.command)
        for item in report.findings
    ]
    table = pd.DataFrame(rows, columns=["", "what", "found", "verdict", "next command"])
    return table.assign(label="EMULATED" if report.emulated else "AWS")


def _check(name: str, context: Context) -> list[ReadinessFinding]:
    title, check = CHECKS[name]
    try:
        return list(check(context))
    except Problem as problem:
        text, verdict = problem.what, BLOCKS if name not in NOT_VITAL else WARN
        if isinstance(problem, Unavailable):
            text, verdict = f"not emulated: {text}", WARN
        return [_finding(name, title, text, verdict, problem.next_step or "Run 00-setup on AWS.")]


def _finding(*facts: str) -> ReadinessFinding:
    fields = zip(ReadinessFinding.model_fields, facts, strict=True)
    return ReadinessFinding.model_validate(dict(fields))


def _free_plan(context: Context) -> Iterator[ReadinessFinding]:
    with asking("the account's plan"):
        client = context.account.client("freetier", GLOBAL_REGION)
        free = client.get_account_plan_state()["accountPlanType"] == "FREE"
    text, verdict, command = "paid plan", OK, "get-account-plan-state"
    if free:
        text, verdict = "free plan: it refuses GPU instance types", BLOCKS
        command = "upgrade-account-plan --account-plan-type PAID"
    yield _finding("plan", "Account plan", text, verdict, f"aws freetier {command}")


def _address(context: Context) -> Iterator[ReadinessFinding]:
    text = f"{context.stack.api_cidr}, as the profile says"
    if not context.stack.api_cidr:
        address = caller_address(context.run, context.account, refresh=True)
        hidden = f"{address.rpartition('.')[0]}.x"
        text = f"{f'{address} (emulated)' if context.account.emulated else hidden} only"
    text = f"the API will be open to {text}"
    yield _finding("caller", "This machine's address", text, OK, f"curl {ADDRESS_SERVICE}")


def _linked_roles(context: Context) -> Iterator[ReadinessFinding]:
    place = {"PathPrefix": "/aws-service-role/"}
    with asking("the service-linked roles"):
        existing = context.rows("iam", "list_roles", "Roles[].RoleName", **place)
    for service, (role, needed) in TABLES["linked_roles"].items():
        text, verdict = "exists", OK
        command = f"aws iam get-role --role-name {role}"
        if role not in existing:
            text = "missing: " + ("spot nodes would not start" if needed else "made at first use")
            verdict = BLOCKS if needed else WARN
            command = f"aws iam create-service-linked-role --aws-service-name {service}"
        name = f"role-{service.partition('.')[0]}"
        yield _finding(name, f"Service-linked role {role}", text, verdict, command)


def _privilege(context: Context) -> Iterator[ReadinessFinding]:
    types = (*context.gpu_types, *context.stack.cpu_instance_types)
    names = {"name": context.stack.name, "project": context.run.profile.tags["project"]}
    asked = list(permissions(context.account, types, **names))
    needed = {action for action, is_needed, _ in asked if is_needed}
    denied = sorted({action for action, is_needed, allowed in asked if is_needed > allowed})
    excess = sorted({action for action, is_needed, allowed in asked if is_needed < allowed})
    text, verdict = f"IAM allows the {len(needed)} actions of a run", OK
    command = "aws iam simulate-principal-policy, with infra/bootstrap/actions.yaml"
    if excess:
        text, verdict, command = f"{text}, and too much: {', '.join(excess)}", WARN, ROLE
    if denied:
        text, verdict, command = f"IAM denies {', '.join(denied)}", BLOCKS, ROLE
    yield _finding("privilege", "Permissions of the caller", text, verdict, command)


def _alerts(context: Context) -> Iterator[ReadinessFinding]:
    text = f"stage 01 creates budget and alarm at ${context.stack.budget_usd:g} a month; "
    notified, verdict = "nobody is notified", WARN
    command = context.rerun("alert_email=you@example.org")
    if context.stack.alert_email:
        notified, verdict = "an e-mail address is notified", OK
        command = "Confirm AWS's e-mail 'Subscription Confirmation' after stage 01."
    yield _finding("alerts", "Budget and alarm", text + notified, verdict, command)
    text, verdict, command = "published", OK, SHOW_CHARGES
    if not charges_are_published(context.account):
        text, verdict = "not published: the alarm would never go off", WARN
        command = f"{TABLES['switch_on_charges']}; a quarter of an hour later: {SHOW_CHARGES}"
    yield _finding("alarm-metric", "Charges in CloudWatch", text, verdict, command)


def _state_bucket(context: Context) -> Iterator[ReadinessFinding]:
    bucket = context.stack.state_bucket
    text, command = "in the run's folder, on this machine", "ls outputs"
    if bucket:
        text = f"in the S3 bucket {bucket}, locked while it is used"
        command = f"aws s3api get-bucket-versioning --bucket {bucket}"
        with asking(f"the state's bucket {bucket}"):
            try:
                context.account.client("s3").head_bucket(Bucket=bucket)
            except ClientError as error:
                if error_code(error) not in ("404", "NoSuchBucket"):
                    raise
                raise Problem(
                    f"The state's bucket {bucket} does not exist.",
                    f"aws s3 mb s3://{bucket} --region {context.account.region}",
                ) from error
    yield _finding("state", "Terraform's state", text, OK, command)


def _quotas(context: Context) -> Iterator[ReadinessFinding]:
    settings, region = context.stack, context.account.region
    types = sorted({*context.gpu_types, *settings.cpu_instance_types})
    with asking("instance types, elastic IPs and VPCs"):
        ec2 = context.account.client("ec2")
        answer = ec2.describe_instance_types(InstanceTypes=types)
        addresses = ec2.describe_addresses()["Addresses"]
        vpcs = context.rows("ec2", "describe_vpcs", "Vpcs[]")
    cores = {t["InstanceType"]: t["VCpuInfo"]["DefaultVCpus"] for t in answer["InstanceTypes"]}
    gpu = settings.gpu.max_nodes * min(cores[kind] for kind in context.gpu_types)
    nodes = context.run.profile.system_nodes["max"]
    system = nodes * max(cores[kind] for kind in settings.cpu_instance_types)
    gateways = settings.zones if settings.nat_per_zone else 1
    client = context.account.client("service-quotas")
    need = {"spot-gpu": (gpu, []), "on-demand-gpu": (0, []), "system": (system, []),
            "addresses": (gateways, addresses), "vpcs": (1, vpcs)}  # fmt: skip
    for name, (service, code, title) in TABLES["quotas"].items():
        needed, existing = need[name]
        # this run's own are the ones needed
        others = sum({"Key": "run", "Value": context.run.run_id} not in each.get("Tags", [])
                     for each in existing)  # fmt: skip
        quota = {"ServiceCode": service, "QuotaCode": code}
        options = f"--service-code {service} --quota-code {code}"
        with asking(f"the quota of {title}"):
            try:
                answer = client.get_service_quota(**quota)
            except client.exceptions.NoSuchResourceException:  # never changed in this account
                answer = client.get_aws_default_service_quota(**quota)
        limit = int(answer["Quota"]["Value"])
        text = f"{limit}, {others} in use" if others else f"{limit}"
        text += f"; the stack needs {f'up to {needed}' if needed else 'none'}"
        verb, verdict = "get-service-quota", OK
        if limit < needed + others:
            verb, verdict = "request-service-quota-increase", BLOCKS
            with asking(f"the requests for {title}"):
                history = client.list_requested_service_quota_change_history_by_quota(**quota)
            requests = [
                r for r in history["RequestedQuotas"] if r["Status"] in ("PENDING", "CASE_OPENED")
            ]
            if requests:
                wanted, status = requests[0]["DesiredValue"], requests[0]["Status"]
                verb = "list-requested-service-quota-change-history-by-quota"
                text += f"; {wanted:g} have been requested ({status})"
            else:
                options += f" --desired-value {needed + others}"
        command = f"aws service-quotas {verb} {options} --region {region}"
        yield _finding(f"quota-{name}", f"{title} ({code})", text, verdict, command)


def _offered(context: Context) -> Iterator[ReadinessFinding]:
    zones, types = context.zones()[: context.stack.zones], context.stack.cpu_instance_types
    with asking("where the instance types are offered"):
        offering = context.rows(
            "ec2", "describe_instance_type_offerings", "InstanceTypeOfferings[].Location",
            LocationType="availability-zone",
            Filters=[{"Name": "instance-type", "Values": list(types)}],
        )  # fmt: skip
    having = [zone for zone in zones if zone in offering]
    yield _finding(
        "offered-system",
        f"{' or '.join(types)} in the cluster's zones",
        f"in {', '.join(having) or 'none'} of {', '.join(zones)}",
        OK if having == zones else WARN if having else BLOCKS,
        "aws ec2 describe-instance-type-offerings --location-type availability-zone "
        f"--filters Name=instance-type,Values={','.join(types)} --region {context.account.region}",
    )


def _spot_price(context: Context) -> Iterator[ReadinessFinding]:
    gpu = context.stack.gpu
    history = record_spot_prices(context.run, context.account, context.gpu_types)
    moment = datetime.fromisoformat(history.asked)
    texts, below = [], 0
    for zone in context.zones():  # it has no price where it is not offered
        prices = {kind: history.price_at(moment, kind, zone) for kind in context.gpu_types}
        if known := {kind: usd for kind, usd in prices.items() if usd is not None}:
            kind = min(known, key=known.__getitem__)
            below += known[kind] <= gpu.max_price_usd
            week = [p.usd for p in history.points if (p.zone, p.instance_type) == (zone, kind)]
            span = f"week {min(week):.3f} to {max(week):.3f}"
            texts.append(f"{zone} ${known[kind]:.3f} for {kind} ({span})")
    yield _finding(
        "spot",
        f"Spot price an hour, cap ${gpu.max_price_usd:g}",
        f"{'; '.join(texts) or 'offered in no zone'}; {history.source}",
        OK if below else BLOCKS,
        "aws ec2 describe-spot-price-history --product-descriptions Linux/UNIX "
        f"--instance-types {' '.join(context.gpu_types)} --region {context.account.region}",
    )


def _placement(context: Context) -> Iterator[ReadinessFinding]:
    region, nodes = context.account.region, max(context.stack.gpu.desired_nodes, 1)
    with asking("how likely spot capacity is"):
        rows = context.rows(
            "ec2", "get_spot_placement_scores", "SpotPlacementScores[]", RegionNames=[region],
            InstanceTypes=list(context.gpu_types), TargetCapacity=nodes,
            SingleAvailabilityZone=True,
        )  # fmt: skip
    scores = {row["AvailabilityZoneId"]: row["Score"] for row in rows}
    yield _finding(
        "placement",
        "How likely spot capacity is now, 1 to 10 by zone (AWS's score, no guarantee)",
        ", ".join(f"{zone} {score}" for zone, score in scores.items()) or "AWS gives no score",
        OK if max(scores.values(), default=0) >= LIKELY else WARN,
        f"aws ec2 get-spot-placement-scores --target-capacity {nodes} --single-availability-zone "
        f"--instance-types {' '.join(context.gpu_types)} --region-names {region}",
    )


def _version(context: Context) -> Iterator[ReadinessFinding]:
    wanted = context.stack.kubernetes_version
    with asking("the Kubernetes versions of EKS"):
        rows = context.rows("eks", "describe_cluster_versions", "clusterVersions[]")
    known = {row["clusterVersion"]: row for row in rows}
    standard = sorted(n for n, v in known.items() if v["versionStatus"] == "STANDARD_SUPPORT")
    text, verdict = f"EKS does not offer {wanted}", BLOCKS
    if wanted in standard:
        ends: datetime = known[wanted]["endOfStandardSupportDate"].astimezone(UTC)
        days = (ends - datetime.now(UTC)).days
        text = f"{wanted} in standard support until {ends:%Y-%m-%d} ({days} days)"
        verdict = OK if days > 30 else WARN
    elif wanted in known:
        text = f"{wanted} is out of standard support: $0.60 an hour instead of $0.10"
    newest = standard[-1] if standard else wanted
    command = context.rerun(f"kubernetes_version='\"{newest}\"'")  # 1.30 would be a number
    if verdict is OK:
        command = f"aws eks describe-cluster-versions --region {context.account.region}"
    yield _finding("version", "Kubernetes version", text, verdict, command)


def _cluster_name(context: Context) -> Iterator[ReadinessFinding]:
    name, verdict = context.stack.name, OK
    text = f"no cluster is called {name}"
    command = f"aws eks describe-cluster --name {name} --region {context.account.region}"
    with asking("the clusters"):
        try:
            cluster = context.account.client("eks").describe_cluster(name=name)["cluster"]
        except ClientError as error:
            if not is_not_found(error):
                raise
        else:
            text, owner = "the cluster of this run exists", cluster.get("tags", {}).get("run", "")
            if owner != context.run.run_id:
                text, verdict = f"a cluster {name} exists, of run {owner or '?'}", BLOCKS
                command = f"workbook resume {owner}" if owner else context.rerun("name=other")
    yield _finding("free-name", "Cluster name", text, verdict, command)


CHECKS: dict[str, tuple[str, Callable[[Context], Iterable[ReadinessFinding]]]] = {
    "plan": ("Account plan", _free_plan),
    "caller": ("This machine's address", _address),
    "roles": ("Service-linked roles", _linked_roles),
    "privilege": ("Permissions of the caller", _privilege),
    "alerts": ("Budget and alarm", _alerts),
    "state": ("Terraform's state", _state_bucket),
    "quota": ("Service quotas", _quotas),
    "offered": ("Instance types in the zones", _offered),
    "spot": ("Spot price", _spot_price),
    "placement": ("Spot capacity", _placement),
    "version": ("Kubernetes version", _version),
    "free-name": ("Cluster name", _cluster_name),
}
# not knowing the answer of any other check blocks as well
NOT_VITAL = ("plan", "roles", "privilege", "placement")
