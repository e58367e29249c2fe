"""One request of a load: what it carries, how it can end, and the row that remains of it."""

import json
import math
from array import array
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from helpers.load import arrivals
from helpers.scenario import Scenario

OK = "ok"
TIMEOUT = "timeout"  # no answer within the scenario's time-out
REFUSED = "refused"  # no connection could be made
TLS = "tls"  # the connection could not be secured
DISCONNECTED = "disconnected"  # the server closed the connection before its answer was whole
BAD_HTTP = "bad-http"  # an answer that is not HTTP/1.1 with a declared length
BAD_OUTPUT = "bad-output"  # success was claimed, but the output tensor is missing or truncated

FLOAT_BYTES = 4
BUCKET = math.log(1.02)  # latencies within 2 % of each other are reported live as one


class Request:
    """One request on its way. Times are of `time.monotonic()`, seconds.

    Attributes:
        phase: Number of its phase in the scenario.
        intended: When it was meant to leave.
        input: Which of the prepared inputs it carries.
        released: When it was handed to the client; later than intended where this process was
            late, earlier than sent where it waited for a connection.
        sent: When its connection took it; NaN while it waits for one. The system gets what was
            taken at the end of the event loop's round, which matters where many leave at once.
        done: When its answer was whole; NaN while there is none.
        open: Whether its outcome is still to come.
        carrier: The connection or call that carries it.
    """

    __slots__ = ("carrier", "done", "input", "intended", "open", "phase", "released", "sent")

    def __init__(self, phase: int, intended: float, input: int, released: float) -> None:
        self.phase = phase
        self.intended = intended
        self.input = input
        self.released = released
        self.sent = math.nan
        self.done = math.nan
        self.open = True
        self.carrier: Any = None


Answered = Callable[[Request, str, int], None]
"""Called once a request has an outcome, with the outcome and the bytes of the answer."""


class Client(Protocol):
    """Carries requests to a server."""

    async def open(self, connections: int) -> None:
        """Make connections before the first request needs one; a failure is left to requests."""

    def send(self, request: Request) -> None:
        """Send now, or as soon as a connection is free."""

    def drop(self, request: Request) -> None:
        """Give a request up: an answer that still comes is ignored."""

    async def close(self) -> None:
        """End every connection."""


@dataclass(frozen=True)
class Shape:
    """The tensors of a request and of a good answer.

    Attributes:
        model: The served model's name.
        batch: Inputs per request.
        dims: Dimensions of one input, without the batch.
        outputs: Numbers in the output of one input.
        input_name: Name of the input tensor.
        output_name: Name of the output tensor.
        batched: Whether the batch is a dimension of the tensors.
    """

    model: str
    batch: int
    dims: tuple[int, ...]
    outputs: int
    input_name: str
    output_name: str
    batched: bool = True

    @property
    def input(self) -> tuple[int, ...]:
        """Dimensions of the input tensor."""
        return (self.batch, *self.dims) if self.batched else self.dims

    @property
    def input_bytes(self) -> int:
        """Bytes of the input tensor."""
        return int(np.prod(self.input)) * FLOAT_BYTES

    @property
    def output_bytes(self) -> int:
        """Bytes of the output tensor of a good answer."""
        return self.batch * self.outputs * FLOAT_BYTES


Tensors = list[npt.NDArray[np.float32]]


def tensors(shape: Shape, scenario: Scenario, shard: int = 0) -> Tensors:
    """The inputs of a scenario; random ones differ, also from those of other shards."""
    if scenario.payload == "zeros":
        return [np.zeros(shape.input, dtype=np.float32)] * scenario.inputs
    random = arrivals.generator(scenario.seed, 1, shard)
    return [random.standard_normal(shape.input, dtype=np.float32) for _ in range(scenario.inputs)]


def http_messages(shape: Shape, inputs: Tensors, url: str) -> list[bytes]:
    """Whole HTTP/1.1 requests to a base URL: KServe v2 with the binary tensor extension."""
    tensor = {
        "name": shape.input_name,
        "shape": shape.input,
        "datatype": "FP32",
        "parameters": {"binary_data_size": shape.input_bytes},
    }
    output = {"name": shape.output_name, "parameters": {"binary_data": True}}
    described = json.dumps({"inputs": [tensor], "outputs": [output]}).encode()
    target = urlsplit(url)
    head = (
        f"POST {target.path.rstrip('/')}/v2/models/{shape.model}/infer HTTP/1.1\r\n"
        f"Host: {target.netloc}\r\n"
        "Content-Type: application/octet-stream\r\n"
        f"Inference-Header-Content-Length: {len(described)}\r\n"
        f"Content-Length: {len(described) + shape.input_bytes}\r\n\r\n"
    )
    start = head.encode() + described
    return [start + values.tobytes() for values in inputs]


def grpc_messages(shape: Shape, inputs: Tensors) -> list[bytes]:
    """Serialised `ModelInferRequest` messages, one for each input."""
    from tritonclient.grpc import service_pb2  # only needed, and slow to import, for gRPC

    messages = []
    for values in inputs:
        message = service_pb2.ModelInferRequest(model_name=shape.model)
        message.inputs.add(name=shape.input_name, datatype="FP32", shape=shape.input)
        message.outputs.add(name=shape.output_name)
        message.raw_input_contents.append(values.tobytes())
        messages.append(message.SerializeToString())
    return messages


TIMES = ("intended_s", "released_s", "sent_s", "done_s")
SCHEMA = pa.schema(
    [
        pa.field("phase", pa.int16()),
        *(pa.field(name, pa.float64()) for name in TIMES),
        pa.field("outcome", pa.int16()),
        pa.field("bytes", pa.int64()),
    ]
)
OUTCOMES = b"outcomes"  # the metadata that names them
TYPECODES = "hddddhq"  # of the columns of `SCHEMA`
Columns = tuple["array[Any]", ...]


class Recorder:
    """Counts the requests of one worker, and writes each as a row of the table, part by part.

    Args:
        folder: Where the parts go; made when missing.
        shard: Which worker's rows they are; several write into one folder.

    Attributes:
        zero: The scenario's start, on the clock of the requests' times.
        sent: Requests released so far.
        answered: Requests that have an outcome.
    """

    def __init__(self, folder: Path, shard: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.zero = 0.0
        self.sent = 0
        self.answered = 0
        self._folder = folder
        self._shard = shard
        self._parts = 0
        self._columns = self._empty()
        self._outcomes: dict[str, int] = {OK: 0}
        self._ok = 0
        self._errors: Counter[str] = Counter()
        self._latencies: list[float] = []
        self._process = psutil.Process()

    def add(self, request: Request, outcome: str, size: int) -> None:
        """Count and append a request that has its outcome.

        Args:
            request: The request; `sent` and `done` are NaN where that never happened.
            outcome: `ok` or an error class.
            size: Bytes of the answer.
        """
        self.answered += 1
        if outcome == OK:
            self._ok += 1
            self._latencies.append(request.done - request.intended)
        else:
            self._errors[outcome] += 1
        zero = self.zero
        phase, intended, released, sent, done, outcomes, sizes = self._columns
        phase.append(request.phase)
        intended.append(request.intended - zero)
        released.append(request.released - zero)
        sent.append(request.sent - zero)
        done.append(request.done - zero)
        outcomes.append(self._outcomes.setdefault(outcome, len(self._outcomes)))
        sizes.append(size)

    def progress(self, elapsed_s: float) -> dict[str, Any]:
        """The counts so far, and the latencies since the last call, as JSON can hold them."""
        latencies, self._latencies = self._latencies, []
        buckets = Counter(int(math.log(max(value, 1e-6)) // BUCKET) for value in latencies)
        return {
            "elapsed_s": round(elapsed_s, 3),
            "sent": self.sent,
            "ok": self._ok,
            "in_flight": self.sent - self.answered,
            "errors": dict(self._errors),
            "latency": buckets,
            "memory_mib": self._process.memory_info().rss / 2**20,
        }

    def take(self) -> Columns:
        """The rows since the last call, handed over so that another thread may write them."""
        columns, self._columns = self._columns, self._empty()
        return columns

    def write(self, columns: Columns) -> None:
        """Write rows as the next part; a kill leaves a whole part or none."""
        count = len(columns[0])
        if not count:
            return
        # from the buffers themselves: pa.array and pa.table would import pandas first, for a second
        arrays = [
            pa.Array.from_buffers(field.type, count, [None, pa.py_buffer(column)])
            for field, column in zip(SCHEMA, columns, strict=True)
        ]
        schema = SCHEMA.with_metadata({OUTCOMES: json.dumps(list(self._outcomes))})
        path = self._folder / f"{self._shard:02d}-{self._parts:06d}.parquet"
        temporary = path.with_suffix(".tmp")
        pq.write_table(pa.Table.from_arrays(arrays, schema=schema), temporary)
        temporary.replace(path)
        self._parts += 1

    @staticmethod
    def _empty() -> Columns:
        return tuple(array(typecode) for typecode in TYPECODES)


def parts_folder(folder: Path, scenario: str) -> Path:
    """Where the parts of a scenario's table lie until they are assembled."""
    return folder / "parts" / f"requests-{scenario}"
