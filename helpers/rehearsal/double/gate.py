"""The one place that every request passes: recorded, struck by faults, answered or let through."""

import functools
import inspect
from collections.abc import Callable
from importlib import import_module
from threading import Lock

from moto.core.exceptions import ServiceException
from moto.core.request import Request
from moto.core.responses import BaseResponse
from moto.core.utils import camelcase_to_underscores
from werkzeug.exceptions import HTTPException

from helpers.rehearsal.double import table
from helpers.rehearsal.double.call import Call, Refusal
from helpers.rehearsal.double.faults import Faults
from helpers.rehearsal.double.wire import (
    NOT_EMULATED,
    NOT_IMPLEMENTED,
    Answer,
    Asked,
    identify,
    is_signed,
    refuse,
    refuse_unknown,
    serialise,
)
from helpers.rehearsal.double.world import World

ONE_AT_A_TIME = Lock()  # moto walks through its memory without a thought for other threads
# Where moto's package is not called as botocore calls the service.
_PACKAGES = {"lambda": "awslambda"}
# Operations of S3 that moto answers in methods of other names. What it does not know it takes for
# a listing of the bucket, and so it is never asked.
_S3_BY_OTHER_NAMES = frozenset(
    [
        "CompleteMultipartUpload",
        "CreateBucket",
        "CreateMultipartUpload",
        "DeleteObjects",
        "GetBucketLifecycleConfiguration",
        "GetBucketNotificationConfiguration",
        "GetBucketTagging",
        "ListBuckets",
        "PutBucketAccelerateConfiguration",
        "PutBucketAcl",
        "PutBucketCors",
        "PutBucketEncryption",
        "PutBucketInventoryConfiguration",
        "PutBucketLifecycleConfiguration",
        "PutBucketLogging",
        "PutBucketNotificationConfiguration",
        "PutBucketOwnershipControls",
        "PutBucketPolicy",
        "PutBucketReplication",
        "PutBucketTagging",
        "PutBucketVersioning",
        "PutBucketWebsite",
        "PutObjectLockConfiguration",
        "PutPublicAccessBlock",
        "RestoreObject",
        "SelectObjectContent",
    ]
)


class Gate:
    """Sees each request before moto does.

    Attributes:
        world: What the account is like.
        faults: What goes wrong in it.
        record: Told of every request whose operation is known.
    """

    def __init__(self, world: World, faults: Faults, record: Callable[[Asked], None]) -> None:
        self.world = world
        self.faults = faults
        self.record = record

    def pass_through(self, request: Request) -> tuple[Asked | None, Answer | None]:
        """What a request asks for, as far as it tells, and the answer; None leaves it to moto."""
        asked = identify(request)
        if asked is None:
            return None, refuse_unknown() if is_signed(request) else None
        self.record(asked)
        answer = self.faults.strike(asked)
        return asked, self._own(asked) if answer is None else answer

    def _own(self, asked: Asked) -> Answer | None:
        operation = table.find(asked.service, asked.operation)
        result = None
        if operation is not None:
            try:
                with ONE_AT_A_TIME:
                    result = operation(Call(asked.params, asked.region, asked.key, self.world))
            except Refusal as refusal:
                return refuse(asked, refusal.code, refusal.message, refusal.status)
            except ServiceException as error:
                return refuse(asked, error.code, error.message, 400)
            except HTTPException as error:  # moto's older errors
                code = getattr(error, "error_type", type(error).__name__)
                return refuse(asked, code, getattr(error, "message", ""), error.code or 400)
        if result is not None:
            return serialise(asked, result)
        return None if _moto_knows(asked.service, asked.operation) else not_emulated(asked)


def not_emulated(asked: Asked) -> Answer:
    """The refusal of what the double does not know."""
    message = (
        f"The rehearsal's AWS emulator does not know {asked.service}:{asked.operation}; "
        "only AWS itself can answer it."
    )
    return refuse(asked, NOT_EMULATED, message, NOT_IMPLEMENTED)


def failed(asked: Asked, error: Exception) -> Answer:
    """The refusal of what moto stumbles over."""
    message = (
        f"The rehearsal's AWS emulator failed in {asked.service}:{asked.operation}: "
        f"{type(error).__name__}: {error}"
    )
    return refuse(asked, "EmulatorFailure", message, NOT_IMPLEMENTED)


@functools.cache
def _moto_knows(service: str, operation: str) -> bool:
    if service == "s3" and operation in _S3_BY_OTHER_NAMES:
        return True
    name = camelcase_to_underscores(operation)
    return any(hasattr(one, name) for one in _response_classes(service))


@functools.cache
def _response_classes(service: str) -> list[type]:
    package = _PACKAGES.get(service, service.replace("-", ""))
    try:
        module = import_module(f"moto.{package}.responses")
    except ModuleNotFoundError:
        return []
    return [
        one
        for _, one in inspect.getmembers(module, inspect.isclass)
        if issubclass(one, BaseResponse) and one is not BaseResponse
    ]
