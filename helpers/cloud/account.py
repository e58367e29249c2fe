"""The AWS account a run works in: clients, environment, and errors as sentences."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    ReadTimeoutError,
)

from helpers.errors import Problem

# The emulator takes any key; these can never be somebody's.
EMULATED_KEYS = {"AWS_ACCESS_KEY_ID": "emulated", "AWS_SECRET_ACCESS_KEY": "emulated"}
LOG_IN = "Log in again ('aws sso login', or new keys), and repeat the step; nothing was lost."
EXPIRED = ("ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired")
UNKNOWN_KEY = ("InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch",
               "AuthFailure", "InvalidAccessKeyId")  # fmt: skip
DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError")
THROTTLED = ("Throttling", "ThrottlingException", "RequestLimitExceeded", "SlowDown",
             "TooManyRequestsException", "PriorRequestNotComplete")  # fmt: skip


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
            return {"AWS_REGION": self.region}
        return {
            **EMULATED_KEYS,
            "AWS_SESSION_TOKEN": "",
            "AWS_PROFILE": "",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "AWS_REGION": self.region,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "2",
        }

    def client(self, service: str, region: str = "") -> Any:
        """A boto3 client.

        Args:
            service: Its name in boto3, such as `ec2`.
            region: Another region than the stack's; billing knows us-east-1 alone.

        Raises:
            Problem: The user's AWS profile does not exist.
        """
        region = region or self.region
        attempts = Config(retries={"mode": "standard", "max_attempts": 2 if self.emulated else 6})
        if not self.emulated:
            with asking("AWS"):
                return boto3.Session(region_name=region).client(service, config=attempts)
        return boto3.Session(
            region_name=region,
            aws_access_key_id=EMULATED_KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=EMULATED_KEYS["AWS_SECRET_ACCESS_KEY"],
        ).client(service, endpoint_url=self.endpoint, config=attempts)


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
            f"There are no AWS credentials to ask for {what}: {error}.",
            "Log in with 'aws configure sso' or set AWS_PROFILE, and repeat the step.",
        ) from error
    except (EndpointConnectionError, ConnectTimeoutError, ReadTimeoutError) as error:
        raise Problem(
            f"AWS cannot be reached to ask for {what}: {error}.",
            "Check the network and the region's name, and repeat the step.",
        ) from error
    except BotoCoreError as error:
        raise Problem(f"The request for {what} could not be made: {error}.") from error


def refusal(what: str, error: ClientError) -> Problem:
    """What AWS refused, as a sentence, and what to do about it."""
    code = str(error.response["Error"]["Code"])
    said = str(error.response["Error"].get("Message", "")).rstrip(".")
    if code in EXPIRED:
        return Problem(f"The AWS credentials have expired while asking for {what}.", LOG_IN)
    if code in UNKNOWN_KEY:
        return Problem(f"AWS does not know the credentials that ask for {what} ({code}).", LOG_IN)
    if code in DENIED:
        action = f"{error.operation_name} ({code})"
        return Problem(
            f"AWS denies {what}: {action}: {said}.",
            "Use the deployer role of infra/bootstrap, or have an admin apply it again.",
        )
    if code in THROTTLED:
        return Problem(
            f"AWS throttles {what} ({code}), also after several tries.",
            "Wait a minute, and repeat the step.",
        )
    return Problem(f"AWS refuses {what}: {code}: {said}.")
