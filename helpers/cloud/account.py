"""The AWS account a run works in: clients, environment, and errors as sentences."""

import functools
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import botocore.loaders
import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    LoginError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as Unreachable

from helpers.errors import Problem, Unavailable

# The emulator takes any key; these can never be somebody's.
EMULATED_KEYS = {"AWS_ACCESS_KEY_ID": "emulated", "AWS_SECRET_ACCESS_KEY": "emulated"}
# the profile and files of the user play no part in a rehearsal
NOBODYS = {"profile": (None, None, None, None), "config_file": (None, None, "/dev/null", None)}
LOG_IN = "Log in again ('aws sso login', or new keys), and repeat the step; nothing was lost."
ROLE = "Use the deployer role of infra/bootstrap, or have an admin apply it again."
EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired")
UNKNOWN_KEY = ("InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch",
               "AuthFailure", "InvalidAccessKeyId", "IncompleteSignature")  # fmt: skip
DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError",
          "AuthorizationErrorException", "Forbidden", "403")  # fmt: skip
THROTTLED = ("Throttling", "ThrottlingException", "ThrottledException", "RequestLimitExceeded",
             "SlowDown", "TooManyRequestsException", "PriorRequestNotComplete",
             "RequestThrottled", "RequestThrottledException", "LimitExceededException")  # fmt: skip
QUOTA = ("VcpuLimitExceeded", "LimitExceeded", "MaxSpotInstanceCountExceeded",
         "InstanceLimitExceeded", "ServiceQuotaExceededException", "AddressLimitExceeded",
         "VpcLimitExceeded", "ResourceLimitExceeded")  # fmt: skip
NOT_EMULATED = "NotEmulated"
CONNECT_S, READ_S = 10, 60
MASK = "<account>"
_ACCOUNT_ID = re.compile(r"(?<=:)\d{12}(?=:)|(?<!\d)\d{12}(?=\.dkr\.ecr)")


@dataclass(frozen=True)
class Account:
    """Where AWS calls go.

    Attributes:
        region: Region of the stack.
        endpoint: URL of the emulator; empty on AWS.
    """

    region: str
    endpoint: str = ""

    @property
    def emulated(self) -> bool:
        """Whether an emulator answers instead of AWS."""
        return bool(self.endpoint)

    @property
    def environment(self) -> dict[str, str]:
        """Variables that send Terraform, and any other SDK, to the same place.

        On AWS that is the region alone: credentials stay where the user keeps them. In a
        rehearsal nothing of the user's AWS settings may be reached, so each is overridden.
        """
        if not self.emulated:
            return {"AWS_REGION": self.region, "AWS_DEFAULT_REGION": self.region}
        return {
            **EMULATED_KEYS,
            "AWS_SESSION_TOKEN": "",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,  # boto3 reads no other
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "2",
        }

    def surroundings(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """The whole environment of a program that shall reach the same account.

        Args:
            inherited: What it would get; in a rehearsal every AWS setting in it is dropped, so
                that not even an endpoint of a single service leads outside.
        """
        kept = {k: v for k, v in inherited.items() if not (self.emulated and k.startswith("AWS_"))}
        return kept | self.environment

    def client(self, service: str, region: str = "") -> Any:
        """A boto3 client.

        Args:
            service: Its name in boto3, such as `ec2`.
            region: Another region than the stack's; billing knows us-east-1 alone.

        Raises:
            Problem: The user's AWS profile does not exist.
        """
        region = region or self.region
        if not self.emulated:
            tries = Config(
                retries={"mode": "standard", "max_attempts": 6},
                connect_timeout=CONNECT_S,
                read_timeout=READ_S,
            )
            with asking("AWS"):
                session = botocore.session.get_session()
                return _shared(session, region).client(service, config=tries)
        # an emulator on this machine is never behind a proxy
        tries = Config(retries={"mode": "standard", "max_attempts": 2}, proxies={})
        session = botocore.session.Session(session_vars=NOBODYS)
        return _shared(
            session,
            region,
            aws_access_key_id=EMULATED_KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=EMULATED_KEYS["AWS_SECRET_ACCESS_KEY"],
        ).client(service, endpoint_url=self.endpoint, config=tries)


def _shared(session: Any, region: str, **keys: str) -> boto3.Session:
    """A session of its own, so that a new login counts at once; what never changes is shared."""
    session.register_component("data_loader", _models())
    return boto3.Session(region_name=region, botocore_session=session, **keys)


@functools.cache
def _models() -> Any:
    """The services' models: half a second for EC2's alone."""
    return botocore.loaders.create_loader()


@dataclass(frozen=True)
class Identity:
    """Who asks AWS.

    Attributes:
        account_id: Twelve digits; never shown or exported whole.
        arn: The user or role.
    """

    account_id: str
    arn: str

    @property
    def shown(self) -> str:
        """The user or role without the account's number."""
        return masked(self.arn, self.account_id)

    @property
    def masked_id(self) -> str:
        """The account's number, but for its last four digits.

        >>> Identity("123456789012", "arn:aws:iam::123456789012:user/x").masked_id
        '********9012'
        """
        return "*" * 8 + self.account_id[-4:]


def identity(account: Account) -> Identity:
    """Who the credentials belong to.

    Raises:
        Problem: There are none, or AWS does not accept them.
    """
    with asking("the caller's identity"):
        found = account.client("sts").get_caller_identity()
    return Identity(found["Account"], found["Arn"])


def masked(text: str, account_id: str = "") -> str:
    """The text without account ids: this one everywhere, any in ARNs and registry names.

    >>> masked("arn:aws:iam::123456789012:role/x")
    'arn:aws:iam::<account>:role/x'
    """
    if account_id:
        text = text.replace(account_id, MASK)
    return _ACCOUNT_ID.sub(MASK, text)


@contextmanager
def asking(what: str) -> Iterator[None]:
    """Turn what AWS refuses inside the block into one sentence with the next step.

    Args:
        what: What is asked for, such as `the service quotas`.

    Raises:
        Problem: AWS refused, could not be reached, or does not know the credentials.
    """
    try:
        yield
    except ClientError as error:
        raise refusal(what, error) from error
    except (NoCredentialsError, PartialCredentialsError, ProfileNotFound) as error:
        raise Problem(
            f"There are no AWS credentials to ask for {what}: {_said(error)}.",
            "Log in with 'aws configure sso' or set AWS_PROFILE, and repeat the step.",
        ) from error
    except (SSOError, LoginError, TokenRetrievalError, CredentialRetrievalError) as error:
        raise Problem(f"The AWS login does not hold for {what}: {_said(error)}.", LOG_IN) from error
    except (Unreachable, HTTPClientError) as error:  # all that happens between here and AWS
        raise Problem(
            f"AWS cannot be reached to ask for {what}: {_said(error)}.",
            "Check the network and the region's name, and repeat the step.",
        ) from error
    except BotoCoreError as error:
        raise Problem(f"The request for {what} could not be made: {_said(error)}.") from error


def _said(error: Exception) -> str:
    return masked(" ".join(str(error).split())).rstrip(".")


def refusal(what: str, error: ClientError) -> Problem:
    """What AWS refused, as a sentence, and what to do about it."""
    code = str(error.response["Error"]["Code"])
    said = masked(str(error.response["Error"].get("Message", ""))).rstrip(".")
    if code in EXPIRED:
        return Problem(f"The AWS credentials have expired while asking for {what}.", LOG_IN)
    if code in UNKNOWN_KEY:
        return Problem(f"AWS does not know the credentials that ask for {what} ({code}).", LOG_IN)
    if code in DENIED:
        action = f"{error.operation_name} ({code})"
        return Problem(f"AWS denies {what}: {action}: {said}.", ROLE)
    if code in THROTTLED:
        return Problem(
            f"AWS throttles {what} ({code}), also after several tries.",
            "Wait a minute, and repeat the step.",
        )
    if code in QUOTA:
        return Problem(
            f"A service quota does not allow {what} ({code}): {said}.",
            "Run 00-setup: its readiness report gives the command that asks for more.",
        )
    if code == NOT_EMULATED:
        return Unavailable(f"The emulator cannot tell {what}: {said}.")
    return Problem(f"AWS refuses {what}: {code}: {said}.")
