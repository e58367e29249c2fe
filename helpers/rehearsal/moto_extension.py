"""Moto's own classes with the operations added that it lacks, and corrected where AWS differs.

Each addition is a function of the call, decorated with moto's class that answers it and named as
moto names the operation. A function that returns None leaves the answer to moto.
"""

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module, metadata
from typing import Any

from moto.backends import get_backend
from moto.core.exceptions import ServiceException
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import determine_request_protocol
from moto.core.responses import ActionResult, BaseResponse
from moto.core.utils import get_service_model

from helpers.errors import Problem

MOTO = "5.2.5"  # the version whose internals are extended here
ACCOUNT_ID = "123456789012"  # the example account of AWS's documentation
NOT_EMULATED, NOT_IMPLEMENTED = "NotEmulated", 501  # SDKs retry 500, 502, 503 and 504
SETTINGS = {"MOTO_ACM_VALIDATION_WAIT": "0"}  # read by moto when it validates a certificate
MODULES = ("codebuild", "ec2", "eks_clusters", "eks_node_groups", "small_services")


@dataclass(frozen=True)
class Call:
    """One call of an added operation."""

    params: Mapping[str, Any]  # with botocore's names
    region: str

    def backend(self, service: str, region: str = "") -> Any:
        """Moto's state of a service; global services have the region `aws`."""
        return get_backend(service)[ACCOUNT_ID][region or self.region]  # type: ignore[call-overload]


Operation = Callable[[Call], Any]


class Refusal(ServiceException):
    """An operation refuses the call, as AWS would: `Refusal(code, message)`."""


@functools.cache
def install() -> None:
    """Extend and correct moto, once in a process; another version of it is a `Problem`."""
    if (installed := metadata.version("moto")) != MOTO:
        raise Problem(
            f"moto {installed} is installed, but the AWS emulator extends the internals of {MOTO}.",
            "Run 'make setup', which installs the pinned version.",
        )
    os.environ.update(SETTINGS)
    for name in MODULES:
        import_module(f"helpers.rehearsal.{name}")
    call_action = BaseResponse.call_action

    def call_or_refuse(response: BaseResponse) -> Any:
        try:
            return call_action(response)
        except NotImplementedError:
            return _not_emulated(response)

    setattr(BaseResponse, "call_action", call_or_refuse)  # noqa: B010 (mypy refuses to assign)


def operation(responses: type[BaseResponse], *names: str) -> Callable[[Operation], Operation]:
    """Decorator: add an operation to one of moto's response classes, named as the function."""

    def added(function: Operation) -> Operation:
        for name in names or (function.__name__,):
            setattr(responses, name, _as_method(function, getattr(responses, name, None)))
        return function

    return added


def correction(owner: type) -> Callable[[Callable[..., Any]], None]:
    """Decorator: put a function in the place of moto's method of its name, which it gets first."""

    def corrected(function: Callable[..., Any]) -> None:
        own = getattr(owner, function.__name__)
        setattr(owner, function.__name__, lambda *given, **named: function(own, *given, **named))

    return corrected


def parameters(response: BaseResponse) -> dict[str, Any]:
    """The input of the operation that a response answers, with botocore's names."""
    request = response.normalized_request
    model = get_service_model(response.boto3_service_name)
    parser = PROTOCOL_PARSERS[determine_request_protocol(model, request.content_type)]
    parsed: dict[str, Any] = parser(
        model.operation_model(response._get_action()), map_type=dict
    ).parse(
        {"method": request.method, "values": request.values, "headers": request.headers,
         "body": request.data, "url_path": request.path, "url_params": response.uri_match}
    )  # fmt: skip
    return parsed


def _as_method(function: Operation, own: Any) -> Callable[[BaseResponse], Any]:
    def method(response: BaseResponse) -> Any:
        result = function(Call(parameters(response), response.region))
        return own(response) if result is None else ActionResult(result)

    return method


def _not_emulated(response: BaseResponse) -> tuple[int, dict[str, Any], Any]:
    name = f"{response.boto3_service_name}:{response._get_action()}"
    message = f"The AWS emulator of the rehearsal does not answer {name}; only AWS itself does."
    refused = ActionResult(Refusal(NOT_EMULATED, message))
    _, headers, body = response.serialized(refused)
    return NOT_IMPLEMENTED, dict(headers), body
