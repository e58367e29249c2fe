"""Requests to AWS and answers from it, as botocore's models describe them on the wire."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import unquote
from xml.sax.saxutils import escape

from botocore.exceptions import UnknownServiceError
from botocore.model import OperationNotFoundError
from moto.core.parse import PROTOCOL_PARSERS
from moto.core.request import Request, determine_request_protocol
from moto.core.routing import get_service_router
from moto.core.serialize import XFormedAttributePicker, get_serializer_class
from moto.core.utils import get_service_model
from werkzeug.exceptions import NotFound

Answer = tuple[int, dict[str, str], str | bytes]

NOT_EMULATED = "NotEmulated"
NOT_IMPLEMENTED = 501  # SDKs try again after 500, 502, 503 and 504
# Services that sign under another name than botocore's; the rest sign under their own.
SIGNED_AS = {
    "elasticloadbalancing": "elbv2",
    "monitoring": "cloudwatch",
    "servicequotas": "service-quotas",
    "tagging": "resourcegroupstaggingapi",
}
# What IAM calls a service that signs under another name; the rest are called as they sign.
IAM_CALLS = {"monitoring": "cloudwatch", "tagging": "tag"}
CLASSIC_ELB = "2012-06-01"
_SCOPE = re.compile(r"Credential=([^/,&\s]*)/\d*/([^/]*)/([^/]*)/aws4_request")
_BUCKET_HOST = re.compile(r"^(?P<bucket>.+)\.s3[.-]")
_PRODUCTS = re.compile(r"(Terraform|Boto3|aws-cli)/[\w.]+")


@dataclass(frozen=True)
class Asked:
    """One request, as far as its headers tell.

    Attributes:
        service: The service's name in botocore.
        operation: The operation's name in botocore's model of that service.
        region: Region that signed it.
        key: Access key that signed it.
        prefix: What IAM calls the service.
        request: The request itself.
        path_params: What its path says.
    """

    service: str
    operation: str
    region: str
    key: str
    prefix: str
    request: Request
    path_params: Mapping[str, Any]

    @property
    def caller(self) -> str:
        """The program that asks, such as `Boto3`."""
        found = _PRODUCTS.findall(self.request.headers.get("User-Agent", ""))
        return found[0] if found else "other"

    @cached_property
    def params(self) -> dict[str, Any]:
        """The operation's input under the names of botocore's model."""
        model = get_service_model(self.service)
        protocol = determine_request_protocol(model, self.request.content_type)
        parser = PROTOCOL_PARSERS[protocol](model.operation_model(self.operation), map_type=dict)
        parsed: dict[str, Any] = parser.parse(
            {
                "method": self.request.method,
                "values": self.request.values,
                "headers": self.request.headers,
                "body": self.request.data,
                "url_path": self.request.path,
                "url_params": dict(self.path_params),
            }
        )
        return parsed

    @property
    def resource(self) -> str:
        """What the request names first of what its operation requires; empty for a list."""
        shape = get_service_model(self.service).operation_model(self.operation).input_shape
        required = shape.required_members if shape is not None else []
        named = (self.params.get(member) for member in required)
        return next((value for value in named if isinstance(value, str)), "")


def identify(request: Request) -> Asked | None:
    """Which operation is asked for; None where the request is of no operation that there is."""
    scope = _scope(request)
    if scope is None:
        return None
    key, region, signed = scope
    service, prefix = SIGNED_AS.get(signed, signed), IAM_CALLS.get(signed, signed)
    if service == "elbv2" and request.values.get("Version") == CLASSIC_ELB:
        service = "elb"
    try:
        operation, path_params = _operation(service, request)
        get_service_model(service).operation_model(operation)
    except (NotFound, NotImplementedError, OperationNotFoundError, UnknownServiceError):
        return None
    return Asked(service, operation, region, key, prefix, request, path_params)


def is_signed(request: Request) -> bool:
    """Whether the request is signed for some service of AWS."""
    return _scope(request) is not None


def scope_of(request: Request) -> str:
    """The credential scope of a presigned URL in the form of a header; empty for any other."""
    presigned = request.args.get("X-Amz-Credential", "")
    if not presigned or request.headers.get("Authorization"):
        return ""
    return f"AWS4-HMAC-SHA256 Credential={presigned}, SignedHeaders=host, Signature=0"


def _scope(request: Request) -> tuple[str, str, str] | None:
    header = request.headers.get("Authorization", "") or unquote(scope_of(request))
    found = _SCOPE.search(header)
    return (found[1], found[2], found[3].lower()) if found else None


def _operation(service: str, request: Request) -> tuple[str, Mapping[str, Any]]:
    if target := request.headers.get("X-Amz-Target"):
        return target.rsplit(".", 1)[-1], {}
    if service != "s3" and (action := request.values.get("Action")):
        return str(action), {}
    operation, params = get_service_router(service).match(_with_bucket_in_path(service, request))
    return str(operation.name), params


def _with_bucket_in_path(service: str, request: Request) -> Request:
    """S3 clients may write the bucket into the host; the model knows it in the path."""
    found = _BUCKET_HOST.match(request.host) if service == "s3" else None
    if found is None:
        return request
    return Request(request.environ | {"PATH_INFO": f"/{found['bucket']}{request.path}"})


def serialise(asked: Asked, result: Any) -> Answer:
    """An operation's result as the service would send it; attributes of objects count too."""
    model = get_service_model(asked.service)
    protocol = determine_request_protocol(model, asked.request.content_type)
    serializer = get_serializer_class(asked.service, protocol)(
        operation_model=model.operation_model(asked.operation),
        value_picker=XFormedAttributePicker(),
    )
    sent = serializer.serialize(result)
    return sent["status_code"], dict(sent["headers"]), sent["body"]


def refuse_unknown() -> Answer:
    """The refusal of a signed request that is of no operation known to botocore."""
    message = "The rehearsal's AWS emulator does not know this service or operation."
    headers = {"Content-Type": "application/json", "X-Amzn-ErrorType": NOT_EMULATED}
    body = json.dumps({"__type": NOT_EMULATED, "message": message})
    return NOT_IMPLEMENTED, headers, body


def family(service: str) -> str:
    """How a service writes its errors: `json`, `ec2`, `query` or `rest-xml`."""
    protocol = str(get_service_model(service).protocol)
    return "json" if "json" in protocol or "cbor" in protocol else protocol


def refuse(asked: Asked, code: str, message: str, status: int) -> Answer:
    """An error as the service would send it."""
    if family(asked.service) == "json":
        headers = {"Content-Type": "application/json", "X-Amzn-ErrorType": code}
        return status, headers, json.dumps({"__type": code, "message": message})
    error = f"<Code>{escape(code)}</Code><Message>{escape(message)}</Message>"
    identifier = "<RequestId>00000000-0000-4000-8000-000000000000</RequestId>"
    match family(asked.service):
        case "ec2":
            body = f"<Response><Errors><Error>{error}</Error></Errors>{identifier}</Response>"
        case "rest-xml":
            body = f"<Error>{error}</Error>"
        case _:
            error = f"<Error><Type>Sender</Type>{error}</Error>"
            body = f"<ErrorResponse>{error}{identifier}</ErrorResponse>"
    return status, {"Content-Type": "text/xml"}, body
