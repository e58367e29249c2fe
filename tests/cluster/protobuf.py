"""Just enough of Kubernetes' protobuf to read the Secrets in which Helm keeps its releases.

Field numbers: k8s.io/apimachinery/pkg/runtime/generated.proto (Unknown),
k8s.io/apimachinery/pkg/apis/meta/v1/generated.proto (ObjectMeta),
k8s.io/api/core/v1/generated.proto (Secret).
"""

import base64
from collections.abc import Iterator
from typing import Any

MAGIC = b"k8s\x00"
UNKNOWN_RAW = 2
SECRET_META, SECRET_DATA, SECRET_TYPE = 1, 2, 3
META_NAME, META_NAMESPACE, META_LABELS = 1, 3, 11


def secret(data: bytes) -> dict[str, Any]:
    """A Secret as the API's JSON."""
    assert data.startswith(MAGIC), "not Kubernetes' protobuf"
    raw = next(value for number, value in _fields(data[len(MAGIC) :]) if number == UNKNOWN_RAW)
    body: dict[str, Any] = {"metadata": {"labels": {}}, "data": {}}
    for number, value in _fields(raw):
        if number == SECRET_META:
            _meta(value, body["metadata"])
        elif number == SECRET_DATA:
            name, content = _pair(value)
            body["data"][name.decode()] = base64.b64encode(content).decode()
        elif number == SECRET_TYPE:
            body["type"] = value.decode()
    return body


def _meta(data: bytes, meta: dict[str, Any]) -> None:
    for number, value in _fields(data):
        if number == META_LABELS:
            name, content = _pair(value)
            meta["labels"][name.decode()] = content.decode()
        elif number in (META_NAME, META_NAMESPACE):
            meta["name" if number == META_NAME else "namespace"] = value.decode()


def _pair(data: bytes) -> tuple[bytes, bytes]:
    found = dict(_fields(data))
    return found[1], found.get(2, b"")


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Fields that hold bytes; numbers are passed over."""
    place = 0
    while place < len(data):
        key, place = _varint(data, place)
        length, place = _varint(data, place)
        if key & 7 == 2:
            yield key >> 3, data[place : place + length]
            place += length


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        value |= (byte & 0x7F) << shift
        place, shift = place + 1, shift + 7
        if byte < 0x80:
            return value, place
