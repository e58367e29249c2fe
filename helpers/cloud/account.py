"""The AWS account of a run: clients, environment, the caller, and errors as sentences."""

import functools
import ipaddress
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import requests
import yaml
from botocore.config import Config
from botocore.credentials import JSONFileCache
from botocore.exceptions import BotoCoreError, ClientError

from helpers.errors import Problem, Unavailable
from helpers.paths import ROOT
from helpers.run import Run

# The emulator accepts any key; these can never be a real one.
EMULATED_KEYS = {"AWS_ACCESS_KEY_ID": "emulated", "AWS_SECRET_ACCESS_KEY": "emulated"}
# In a rehearsal, the user's AWS profile and files are never read.
NO_PROFILE = {"profile": (None, None, None, None), "config_file": (None, None, "/dev/null", None)}
ERRORS = yaml.safe_load(Path(__file__).with_name("aws_errors.yaml").read_text())
REFUSALS: dict[str, dict[str, Any]] = ERRORS["refused"]
LASTING = (*REFUSALS["expired"]["codes"], *REFUSALS["unknown_key"]["codes"])
LOG_IN, ROLE = REFUSALS["expired"]["next_step"], REFUSALS["denied"]["next_step"]
ACTIONS = ROOT / "infra" / "bootstrap" / "actions.yaml"
GLOBAL_REGION = "us-east-1"  # where AWS answers for charges, prices and an account's plan
MASK = "<account>"
_ACCOUNT_ID = re.compile(r"(?<=:)\d{12}(?=:)|(?<!\d)\d{12}(?=\.dkr\.ecr)")
ADDRESS_SERVICE = "https://checkip.amazonaws.com"
EMULATED_ADDRESS = "203.0.113.7"  # RFC 5737: reserved for documentation
CALLER_FILE = "terraform/caller.json"  # not a record: the user's address is private


@dataclass(frozen=True)
class Account:
    """Where AWS calls go: a region of AWS, or of the emulator at `endpoint`."""

    region: str
    endpoint: str = ""

    @property
    def emulated(self) -> bool:
        """Whether an emulator answers instead of AWS."""
        return bool(self.endpoint)

    @property
    def environment(self) -> dict[str, str]:
        """Variables that send Terraform, and any other SDK, to the same account."""
        region = {"AWS_REGION": self.region, "AWS_DEFAULT_REGION": self.region}
        if not self.emulated:
            return region | role_keys()
        return region | EMULATED_KEYS | {
            "AWS_SESSION_TOKEN": "",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "2",
        }  # fmt: skip

    def surroundings(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """A program's whole environment; a rehearsal drops every AWS setting it would inherit."""
        kept = {k: v for k, v in inherited.items() if not (self.emulated and k.startswith("AWS_"))}
        return kept | self.environment

    def client(self, service: str, region: str = "") -> Any:
        """A boto3 client; all of a process share one session, and so a role's keys."""
        options: dict[str, Any] = {"retries": {"mode": "standard", "max_attempts": 10},
                                   "connect_timeout": 10, "read_timeout": 60}  # fmt: skip
        keys = {}
        if self.emulated:
            # an emulator on this machine is never behind a proxy
            options = {"retries": {"mode": "standard", "max_attempts": 2}, "proxies": {}}
            keys = {name.lower(): key for name, key in EMULATED_KEYS.items()}
        with asking("AWS"):
            return session(self.emulated).client(
                service, region or self.region, endpoint_url=self.endpoint or None,
                config=Config(**options), **keys,
            )  # fmt: skip


@functools.cache
def session(emulated: bool = False) -> boto3.Session:
    """The session of this process; a login that is refused makes the next call begin a new one."""
    made = botocore.session.Session(session_vars=NO_PROFILE if emulated else None)
    if not emulated:  # a role's keys are kept where the AWS CLI keeps them: one MFA code for all
        roles = made.get_component("credential_provider").get_provider("assume-role")
        roles.cache = JSONFileCache(str(Path.home() / ".aws/cli/cache"))
    return boto3.Session(botocore_session=made)


def needs_mfa() -> bool:
    """Whether the user's AWS profile assumes a role with an MFA code."""
    return "mfa_serial" in session()._session.get_scoped_config()


def role_keys() -> dict[str, str]:
    """The keys of a role with MFA, as variables: Terraform cannot ask for a code, boto3 does."""
    with asking("the role's keys"):
        if not needs_mfa():
            return {}
        keys = session().get_credentials().get_frozen_credentials()
    return {"AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key,
            "AWS_SESSION_TOKEN": keys.token}  # fmt: skip


def credentials_fault(hours: float) -> str:
    """Why the user's credentials may end within `hours`; empty if they last or are renewed."""
    with asking("the credentials"):
        credentials = session().get_credentials()
    if credentials is None:
        return ""  # the caller's identity says so
    keys, end = credentials.get_frozen_credentials(), getattr(credentials, "_expiry_time", None)
    renewed = end and credentials.method != "env" and not needs_mfa()
    if renewed or not keys.token:
        return ""
    left = (end - datetime.now(UTC)) / timedelta(hours=1) if end else 0
    when = f"end in {left:.1f} h" if end else "end at an unknown time"
    return f"temporary keys that nothing renews {when}, the run may take {hours:g} h" * (
        left < hours
    )


@dataclass(frozen=True)
class Identity:
    """Who calls AWS: the account's number (never shown whole), and the user or role."""

    account_id: str
    arn: str

    @property
    def shown(self) -> str:
        """The user or role without the account's number."""
        return masked(self.arn, self.account_id)


def identity(account: Account) -> Identity:
    """Whose credentials are used."""
    with asking("the caller's identity"):
        answer = account.client("sts").get_caller_identity()
    return Identity(answer["Account"], answer["Arn"])


def permissions(
    account: Account, types: Sequence[str], **names: str
) -> Iterator[tuple[str, bool, bool]]:
    """Ask IAM, which does nothing by it, whether the caller may do what infra/bootstrap lists.

    Yields each action, whether a run needs it, and whether it is allowed. The simulation includes
    permissions boundary and service control policies. `types` are the instance types that are
    launched, `names` those of stack and project.
    """
    who, iam = identity(account), account.client("iam")
    _, partition, *_, caller = who.arn.split(":")
    facts = {"partition": partition, "account": who.account_id, "region": account.region} | names
    kind, _, name = caller.partition("/")
    if kind == "root":
        raise Problem("The root user may do everything; IAM simulates roles and users only.", ROLE)
    with asking("the caller's permissions"):
        source = who.arn
        if kind == "assumed-role":  # its ARN lacks the role's path
            source = iam.get_role(RoleName=name.partition("/")[0])["Role"]["Arn"]
        pages = iam.get_paginator("simulate_principal_policy")
        for group, instance_type in itertools.product(yaml.safe_load(ACTIONS.read_text()), types):
            context = {"aws:RequestedRegion": account.region} | group.get("context", {})
            if instance_type != types[0] and "ec2:InstanceType" not in context:
                continue
            facts["instance_type"] = instance_type
            entries = [{"ContextKeyName": key, "ContextKeyType": "string",
                        "ContextKeyValues": [value.format_map(facts)]}
                       for key, value in context.items()]  # fmt: skip
            for resource, actions in group["resources"].items():
                answers = pages.paginate(
                    PolicySourceArn=source, ActionNames=actions, ContextEntries=entries,
                    ResourceArns=[resource.format_map(facts)],
                )  # fmt: skip
                for row in answers.search("EvaluationResults[]"):
                    allowed = row["EvalDecision"] == "allowed"
                    yield row["EvalActionName"], group.get("needed", True), allowed


def masked(text: str, account_id: str = "") -> str:
    """The text without account ids: this one everywhere, any in ARNs and registry names.

    >>> masked("arn:aws:iam::123456789012:role/x")
    'arn:aws:iam::<account>:role/x'
    """
    if account_id:
        text = text.replace(account_id, MASK)
    return _ACCOUNT_ID.sub(MASK, text)


def caller_address(run: Run, account: Account, *, refresh: bool = False) -> str:
    """The public IPv4 address of this machine; `refresh` asks again, as it may have moved."""
    if account.emulated:
        return EMULATED_ADDRESS
    stored = run.folder / CALLER_FILE
    if stored.is_file() and not refresh:
        return str(json.loads(stored.read_text())["address"])
    try:
        answer = requests.get(ADDRESS_SERVICE, timeout=10)
        answer.raise_for_status()
        address = str(ipaddress.IPv4Address(answer.text.strip()))
    except (requests.RequestException, ValueError) as error:
        raise Problem(
            f"{ADDRESS_SERVICE} does not answer with this machine's public IPv4 address.",
            "Set infrastructure.api_cidr in the profile to your address, such as x.x.x.x/32.",
        ) from error
    stored.parent.mkdir(mode=0o700, exist_ok=True)
    run.write(CALLER_FILE, json.dumps({"address": address}) + "\n").chmod(0o600)
    return address


def api_cidr(run: Run, account: Account) -> str:
    """Who may reach the cluster's API: what the profile says, else this machine only."""
    return run.profile.infrastructure.api_cidr or f"{caller_address(run, account)}/32"


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Turn AWS errors inside the block into one sentence with the next step."""
    try:
        yield
    except ClientError as error:
        raise refusal(what, error) from error
    except BotoCoreError as error:
        text = masked(" ".join(str(error).split())).rstrip(".")
        names = {kind.__name__ for kind in type(error).__mro__}
        known = next(row for row in ERRORS["failed"] if names & {*row["errors"]})
        raise Problem(known["sentence"].format(what=what, text=text), known["next_step"]) from error


def refusal(what: str, error: ClientError) -> Problem:
    """What AWS refused, as a sentence with the next step."""
    code = error_code(error)
    if code in LASTING:
        session.cache_clear()  # the next call sees a new login
    message = masked(str(error.response["Error"].get("Message", ""))).rstrip(".")
    if code == "NotEmulated":
        return Unavailable(f"The emulator cannot answer for {what}: {message}.")
    facts = {"what": what, "code": code, "message": message, "operation": error.operation_name}
    for known in REFUSALS.values():
        if code in known["codes"]:
            return Problem(known["sentence"].format(**facts), known["next_step"])
    return Problem(f"AWS refuses {what}: {code}: {message}.")


def error_code(error: ClientError) -> str:
    """AWS's code of a refusal."""
    return str(error.response["Error"]["Code"])


def is_denied(error: ClientError) -> bool:
    """Whether the caller lacks the permission."""
    return error_code(error) in REFUSALS["denied"]["codes"]


def is_not_found(error: ClientError) -> bool:
    """Whether the resource does not exist (any more)."""
    return any(part in error_code(error) for part in ("NotFound", "NoSuch", "NonExistent"))
