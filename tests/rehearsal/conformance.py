"""Holds the double's answers against botocore's model of each operation."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from botocore.awsrequest import AWSResponse
from botocore.model import ListShape, MapShape, Shape, StructureShape
from botocore.parsers import create_parser
from moto.core.botocore_stubber import MockRawResponse
from moto.core.request import determine_request_protocol
from moto.core.utils import get_service_model

from helpers.rehearsal.double.wire import Answer, Asked

PYTHON: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "boolean": bool,
    "timestamp": datetime,
    "blob": bytes,
}


def complaints(asked: Asked, result: Any, answer: Answer) -> list[str]:
    """What is wrong with an answer: members that no model has, or that lack or have other types."""
    shape = get_service_model(asked.service).operation_model(asked.operation).output_shape
    where = f"{asked.service}:{asked.operation}"
    if shape is None:
        return [f"{where} has no output"] if result else []
    found = [*_given(shape, result, where), *_wrong(shape, _parsed(asked, shape, answer), where)]
    return sorted(set(found))


def _parsed(asked: Asked, shape: Shape, answer: Answer) -> dict[str, Any]:
    """The answer as boto3 reads it."""
    status, headers, body = answer
    model = get_service_model(asked.service)
    response = AWSResponse("", status, headers, MockRawResponse(body))
    parser = create_parser(determine_request_protocol(model, asked.request.content_type))
    parsed: dict[str, Any] = parser.parse(
        {"status_code": status, "headers": headers, "body": response.content}, shape
    )
    return {key: value for key, value in parsed.items() if key != "ResponseMetadata"}


def _given(shape: Shape, value: Any, where: str) -> Iterator[str]:
    """What no client may see: members that the model does not have, values of another type.

    The serializer would leave out or convert them; objects of moto are not looked into.
    """
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        for key, member in value.items():
            if key in shape.members:
                yield from _given(shape.members[key], member, f"{where}.{key}")
            else:
                yield f"{where}.{key} is not in the model"
    elif isinstance(shape, ListShape) and isinstance(value, list):
        for member in value:
            yield from _given(shape.member, member, f"{where}[]")
    elif shape.type_name in PYTHON and value is not None:
        yield from _of_type(shape, value, where)


def _of_type(shape: Shape, value: Any, where: str) -> Iterator[str]:
    if not isinstance(value, PYTHON[shape.type_name]):
        yield f"{where} is {value!r}, no {shape.type_name}"
    elif shape.type_name == "string" and shape.enum and value not in shape.enum:
        yield f"{where} is {value!r}, none of {', '.join(shape.enum)}"


def _wrong(shape: Shape, value: Any, where: str) -> Iterator[str]:
    if isinstance(shape, StructureShape):
        for name in set(shape.required_members) - value.keys():
            yield f"{where}.{name} is missing"
        for name, member in value.items():
            yield from _wrong(shape.members[name], member, f"{where}.{name}")
    elif isinstance(shape, ListShape):
        for member in value:
            yield from _wrong(shape.member, member, f"{where}[]")
    elif isinstance(shape, MapShape):
        for member in value.values():
            yield from _wrong(shape.value, member, f"{where}{{}}")
    else:
        yield from _of_type(shape, value, where)
