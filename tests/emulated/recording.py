"""Sees each request before moto answers it: records it, and strikes it with faults."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from moto.core.request import Request
from moto.core.responses import ActionResult, BaseResponse
from moto.core.routing import get_service_router
from moto.core.utils import get_service_model
from moto.s3.responses import S3Response
from werkzeug.exceptions import NotFound

from helpers.rehearsal import moto_extension
from helpers.run import append_line, read_lines
from tests.emulated.faults import Faults

# What IAM calls a service that botocore calls otherwise; the rest have one name.
IAM_NAMES = {
    "elbv2": "elasticloadbalancing",
    "elb": "elasticloadbalancing",
    "service-quotas": "servicequotas",
    "resourcegroupstaggingapi": "tag",
}
_PRODUCTS = re.compile(r"(Terraform|Boto3|aws-cli)/[\w.]+")
_S3_ENTRIES = ("bucket_response", "key_response")


@dataclass(frozen=True)
class Line:
    """One request."""

    service: str  # what IAM calls it
    action: str  # as botocore's model names it
    resource: str  # the first name that the operation requires; empty for a list
    caller: str  # the program that asked


def to_file(path: Path) -> Callable[[Line], None]:
    """A recorder that appends a line of JSON per request."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return lambda line: append_line(path, json.dumps(asdict(line)))


def read(path: Path) -> list[Line]:
    """The lines of such a file; a torn line is left out."""
    return [Line(**line) for line in read_lines(path)]


def watched(record: Callable[[Line], None], faults: Faults) -> dict[tuple[type, str], Any]:
    """Moto's methods that see every request, each with recording and faults put before it."""
    moto_extension.install()
    call_action = BaseResponse.call_action

    def call(response: BaseResponse) -> Any:
        operation = response._get_action()
        struck = _see(response, operation, lambda: moto_extension.parameters(response))
        return struck or call_action(response)

    def of_s3(entry: Any) -> Any:
        def respond(response: S3Response, request: Request, *rest: Any) -> Any:
            response.setup_class(request)
            operation, named = _s3_operation(response, request)
            return _see(response, operation, lambda: named) or entry(response, request, *rest)

        return respond

    def _see(response: BaseResponse, operation: str, parameters: Callable[[], Any]) -> Any:
        service = response.boto3_service_name
        if operation not in get_service_model(service).operation_names:
            return None
        agent = _PRODUCTS.findall(response.headers.get("User-Agent", ""))
        required = get_service_model(service).operation_model(operation).input_shape
        given = parameters()
        names = [given.get(name) for name in (required.required_members if required else [])]
        resource = next((name for name in names if isinstance(name, str)), "")
        prefix = IAM_NAMES.get(service, service)
        record(Line(prefix, operation, resource, agent[0] if agent else "other"))
        refusal = faults.strike(service, prefix, operation)
        if refusal is None:
            return None
        code, message, status = refusal
        _, headers, body = response.serialized(ActionResult(moto_extension.Refusal(code, message)))
        return status, dict(headers), body

    entries: dict[tuple[type, str], Any] = {(BaseResponse, "call_action"): call}
    return entries | {(S3Response, name): of_s3(getattr(S3Response, name)) for name in _S3_ENTRIES}


def _s3_operation(response: S3Response, request: Request) -> tuple[str, dict[str, Any]]:
    bucket = response.parse_bucket_name_from_url(request, request.raw_url)
    path = request.path
    if bucket and not path.startswith(f"/{bucket}"):
        path = f"/{bucket}{path}"
    try:
        routed = Request(request.environ | {"PATH_INFO": path})
        operation, parameters = get_service_router("s3").match(routed)
    except (NotFound, NotImplementedError):
        return "", {}
    return str(operation.name), dict(parameters)
