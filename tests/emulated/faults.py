"""Faults that an emulated account can be told to have."""

import time
from collections.abc import Iterator
from fnmatch import fnmatchcase
from threading import Lock
from typing import Literal

from moto.core.utils import get_service_model

from helpers.scenario import Settings

Refused = tuple[str, str, int]  # error code, message, HTTP status
Kind = Literal["expired", "denied", "throttled", "error", "slow"]
# Code and HTTP status by kind and family of services. Sources: the pages "Common errors" of the
# services' API references, and "Error codes for the Amazon EC2 API".
_CODES: dict[tuple[str, str], tuple[str, int]] = {
    ("expired", "ec2"): ("RequestExpired", 400),
    ("expired", "json"): ("ExpiredTokenException", 400),
    ("expired", "query"): ("ExpiredToken", 403),
    ("expired", "rest-xml"): ("ExpiredToken", 400),
    ("denied", "ec2"): ("UnauthorizedOperation", 403),
    ("denied", "json"): ("AccessDeniedException", 400),
    ("denied", "query"): ("AccessDenied", 403),
    ("denied", "rest-xml"): ("AccessDenied", 403),
    ("throttled", "ec2"): ("RequestLimitExceeded", 503),
    ("throttled", "json"): ("ThrottlingException", 400),
    ("throttled", "query"): ("Throttling", 400),
    ("throttled", "rest-xml"): ("SlowDown", 503),
}
_SAYS = {
    "expired": "The security token included in the request is expired",
    "throttled": "Rate exceeded",
}


class Fault(Settings):
    """Something that goes wrong.

    Expired credentials, denied access, throttled requests, any other error, or a slow answer.
    """

    kind: Kind
    service: str = "*"  # which services, by botocore's name
    operation: str = "*"  # which operations
    times: int = 0  # how often, then never again; 0 means always
    delay_s: float = 0.0  # how long `slow` holds the request before it is carried out, seconds
    code: str = "InternalFailure"  # for `error`
    message: str = ""  # empty for AWS's own words
    status: int = 400  # for `error`

    def strike(self, service: str, prefix: str, operation: str) -> Refused | None:
        """What the service answers; None when it goes on after a delay."""
        if self.kind == "slow":
            time.sleep(self.delay_s)
            return None
        if self.kind == "error":
            return self.code, self.message, self.status
        code, status = _CODES[self.kind, family(service)]
        denied = f"You are not authorized to perform: {prefix}:{operation}"
        return code, self.message or _SAYS.get(self.kind, denied), status


def family(service: str) -> str:
    """How a service writes its errors: `json`, `ec2`, `query` or `rest-xml`."""
    protocol = str(get_service_model(service).protocol)
    return "json" if "json" in protocol or "cbor" in protocol else protocol


class Faults:
    """The faults that are switched on, oldest first."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._on: list[Fault] = []

    def add(self, *faults: Fault) -> None:
        """Switch faults on."""
        with self._lock:
            self._on.extend(faults)

    def clear(self) -> None:
        """Switch every fault off."""
        with self._lock:
            self._on.clear()

    def __iter__(self) -> Iterator[Fault]:
        return iter(list(self._on))

    def strike(self, service: str, prefix: str, operation: str) -> Refused | None:
        """What the first fault that concerns a request answers; None where none does."""
        with self._lock:
            for number, fault in enumerate(self._on):
                if fnmatchcase(service, fault.service) and fnmatchcase(operation, fault.operation):
                    if fault.times == 1:
                        del self._on[number]
                    elif fault.times:
                        self._on[number] = fault.model_copy(update={"times": fault.times - 1})
                    break
            else:
                return None
        return fault.strike(service, prefix, operation)
