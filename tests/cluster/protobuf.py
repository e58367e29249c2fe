"""Just enough of Kubernetes' protobuf to read the Secrets in which Helm keeps its releases.

Field numbers: generated.proto of k8s.io/apimachinery/pkg/runtime (Unknown),
k8s.io/apimachinery/pkg/apis/meta/v1 (ObjectMeta), k8s.io/api/core/v1 (Secret).
"""

import base64
from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.unknown_fields import UnknownFieldSet

MAGIC = b"k8s\x00"
UNKNOWN_RAW = 2
SECRET_META, SECRET_DATA, SECRET_TYPE = 1, 2, 3
META_NAME, META_NAMESPACE, META_LABELS = 1, 3, 11


def secret(data: bytes) -> dict[str, Any]:
    """A Secret as the API's JSON."""
    assert data.startswith(MAGIC), "not Kubernetes' protobuf"
    fields = _fields(dict(_fields(data[len(MAGIC) :]))[UNKNOWN_RAW])
    (meta,) = (_fields(value) for number, value in fields if number == SECRET_META)
    names = {META_NAME: "name", META_NAMESPACE: "namespace"}
    metadata = {names[number]: value.decode() for number, value in meta if number in names}
    labels = {name: value.decode() for name, value in _pairs(meta, META_LABELS).items()}
    contents = _pairs(fields, SECRET_DATA)
    return {
        "metadata": metadata | {"labels": labels},
        "data": {name: base64.b64encode(value).decode() for name, value in contents.items()},
        "type": dict(fields)[SECRET_TYPE].decode(),
    }


def _pairs(fields: list[tuple[int, Any]], wanted: int) -> dict[str, bytes]:
    """A map: each entry has its key as field 1 and its value as field 2."""
    entries = [dict(_fields(value)) for number, value in fields if number == wanted]
    return {entry[1].decode(): entry.get(2, b"") for entry in entries}


def _fields(data: bytes) -> list[tuple[int, Any]]:
    fields = UnknownFieldSet(Empty.FromString(data))
    return [(field.field_number, field.data) for field in fields]
