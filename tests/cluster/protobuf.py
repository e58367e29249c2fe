"""Just enough of Kubernetes' protobuf to read the Secrets in which Helm keeps its releases.

Field numbers: generated.proto of k8s.io/apimachinery/pkg/runtime (Unknown),
k8s.io/apimachinery/pkg/apis/meta/v1 (ObjectMeta), k8s.io/api/core/v1 (Secret).
"""

import base64
from collections.abc import Iterator
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.unknown_fields import UnknownFieldSet

MAGIC = b"k8s\x00"
UNKNOWN_RAW, SECRET_META, SECRET_DATA, META_NAME, META_LABELS = 2, 1, 2, 1, 11


def secret(data: bytes) -> dict[str, Any]:
    """Name, labels and contents of a Secret as the API's JSON."""
    assert data.startswith(MAGIC), "not Kubernetes' protobuf"
    fields = _fields(dict(_fields(data[len(MAGIC) :]))[UNKNOWN_RAW])
    meta = _fields(dict(fields)[SECRET_META])
    labels = {name: value.decode() for name, value in _map(meta, META_LABELS)}
    contents = {name: base64.b64encode(value).decode() for name, value in _map(fields, SECRET_DATA)}
    return {
        "metadata": {"name": dict(meta)[META_NAME].decode(), "labels": labels},
        "data": contents,
    }


def _map(fields: list[tuple[int, Any]], number: int) -> Iterator[tuple[str, bytes]]:
    """The pairs of a map: each entry has its key as field 1 and its value as field 2."""
    entries = (dict(_fields(value)) for place, value in fields if place == number)
    return ((entry[1].decode(), entry.get(2, b"")) for entry in entries)


def _fields(data: bytes) -> list[tuple[int, Any]]:
    fields = UnknownFieldSet(Empty.FromString(data))
    return [(field.field_number, field.data) for field in fields]
