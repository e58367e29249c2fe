"""One request of a load: its payload, its outcome, its row in the table, and live counts."""

import asyncio
import json
import math
import ssl
from array import array
from collections import Counter, deque
from collections.abc import Callable, MutableSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any
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

CONNECT_TIMEOUT_S = 10.0
# of inputs that can be sent, by KServe v2's names
DTYPES: dict[str, np.dtype[Any]] = {"UINT8": np.dtype("uint8"), "FP32": np.dtype("float32")}
RECENT = 5  # seconds that the percentiles shown live reach back
BUCKET = math.log(1.02)  # latencies within 2 % of each other are reported live as one


@dataclass(slots=True, eq=False)
class Request:
    """One request on its way. Times are of `time.monotonic()`, seconds."""

    phase: int  # its number in the scenario
    intended: float  # when it was meant to leave
    input: int  # which of the prepared inputs it carries
    # handed to the client: later than intended where this process was late, earlier than sent
    # where it waited for a connection
    released: float
    # accepted by its connection; the system gets it at the end of the event loop's round
    sent: float = math.nan
    done: float = math.nan  # when its answer was whole
    open: bool = True  # its outcome is still to come
    carrier: Any = None  # the connection or call that carries it


Answered = Callable[[Request, str, int], None]
"""Called once a request has an outcome, with the outcome and the bytes of the answer."""


@dataclass(frozen=True)
class Target:
    """What a client sends where, and what it expects."""

    url: str  # `http://host:port` of the server, or with https, grpc or grpcs
    messages: list[bytes]  # whole requests (gRPC: serialised), one for each input
    output_bytes: int  # of the output tensor of a good answer
    timeout_s: float  # how long a request may take; a gRPC server is told
    limit: int = 256  # most HTTP connections at a time
    certificate: str = ""  # PEM file to verify the server; empty for the system's


class Client:
    """Carries requests to a server; those beyond its connections' limits are queued.

    `answered` is called with the outcome of each request.
    """

    def __init__(self, target: Target, answered: Answered) -> None:
        address = urlsplit(target.url)
        self._secure = address.scheme in ("https", "grpcs")
        self._host = address.hostname or ""
        self._port = address.port or (443 if self._secure else 80)
        trust = target.certificate or None
        self._tls = ssl.create_default_context(cafile=trust) if self._secure else None
        self._patience_s = CONNECT_TIMEOUT_S
        self._messages = target.messages
        self._waiting: deque[Request] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._alive: MutableSet[Any] = set()  # connections
        self.output_bytes = target.output_bytes
        self.answered = answered

    async def open(self, connections: int) -> None:
        """Open connections before the first request; a failure is reported by the requests."""

    def send(self, request: Request) -> None:
        """Send now, or as soon as a connection is free."""

    def drop(self, request: Request) -> None:
        """Drop a request: an answer that still arrives is ignored."""

    def _connection(self) -> Any:
        """A new connection, not connected yet."""

    def _connected(self, connection: Any, outcome: str) -> None:
        """A connection is open, or could not be opened and has an outcome."""

    async def close(self) -> None:
        """End every connection."""
        self._waiting.clear()
        for task in self._opening:
            task.cancel()
        for connection in list(self._alive):
            connection.abort()
        await asyncio.sleep(0)

    def _open_one(self) -> None:
        self._opening.add(asyncio.get_running_loop().create_task(self._connect()))

    async def _connect(self) -> None:
        connection, outcome = self._connection(), TLS
        try:
            async with asyncio.timeout(self._patience_s):
                await asyncio.get_running_loop().create_connection(
                    lambda: connection, self._host, self._port, ssl=self._tls
                )
                outcome = await connection.ready
        except ssl.SSLError:
            pass
        except OSError:  # TimeoutError is one
            outcome = REFUSED
        finally:
            # before the call, which may open another connection
            self._opening -= {asyncio.current_task()}
            if outcome:
                connection.abort()
        self._connected(connection, outcome)


@dataclass(frozen=True)
class Shape:
    """The tensors of a request and of a good answer."""

    model: str  # the served model's name
    batch: int  # inputs per request
    dims: tuple[int, ...]  # dimensions of one input, without the batch
    outputs: int  # numbers in the output of one input
    input_name: str  # name of the input tensor
    output_name: str  # name of the output tensor
    batched: bool = True  # whether the batch is a dimension of the tensors
    datatype: str = "FP32"  # of the input, a key of `DTYPES`; the output is FP32

    @property
    def input(self) -> tuple[int, ...]:
        """Dimensions of the input tensor."""
        return (self.batch, *self.dims) if self.batched else self.dims

    @property
    def input_bytes(self) -> int:
        """Bytes of the input tensor."""
        return math.prod(self.input) * DTYPES[self.datatype].itemsize

    @property
    def output_bytes(self) -> int:
        """Bytes of the output tensor of a good answer."""
        return self.batch * self.outputs * DTYPES["FP32"].itemsize


Tensors = list[npt.NDArray[Any]]


def tensors(shape: Shape, scenario: Scenario, shard: int = 0) -> Tensors:
    """The inputs of a scenario; random ones differ, also from those of other shards.

    Random bytes are of 0 to 255, random floats standard normal.
    """
    inputs = range(scenario.inputs)
    if scenario.payload == "zeros":
        return [np.zeros(shape.input, DTYPES[shape.datatype])] * len(inputs)
    random = arrivals.generator(scenario.seed, 1, shard)
    if shape.datatype == "UINT8":
        return [random.integers(256, size=shape.input, dtype=np.uint8) for _ in inputs]
    return [random.standard_normal(shape.input, dtype=np.float32) for _ in inputs]


TIMES = ("intended_s", "released_s", "sent_s", "done_s")
TYPES = {"phase": pa.int16(), **dict.fromkeys(TIMES, pa.float64()), "outcome": pa.int16()}
SCHEMA = pa.schema({**TYPES, "bytes": pa.int64()})
OUTCOMES = b"outcomes"  # the metadata that names them
TYPECODES = "hddddhq"  # of the columns of `SCHEMA`
Columns = tuple["array[Any]", ...]


def _empty_columns() -> Columns:
    return tuple(map(array, TYPECODES))


class Recorder:
    """Counts the requests of one worker and writes their rows, part by part.

    Several workers write into one folder; `shard` says whose rows they are.
    """

    def __init__(self, folder: Path, shard: int = 0) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.zero = 0.0  # the scenario's start, on the clock of the requests' times
        self.sent = 0  # requests released so far
        self.answered = 0  # requests that have an outcome
        self._folder = folder
        self._shard = shard
        self._parts = 0
        self._columns = _empty_columns()
        self._outcomes: dict[str, int] = {OK: 0}
        self._ok = 0
        self._errors: Counter[str] = Counter()
        self._latencies: list[float] = []
        self._process = psutil.Process()

    def add(self, request: Request, outcome: str, size: int) -> None:
        """Count and append a request that has its outcome, and the bytes of its answer."""
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
        return {
            "elapsed_s": round(elapsed_s, 3),
            "sent": self.sent,
            "ok": self._ok,
            "in_flight": self.sent - self.answered,
            "errors": dict(self._errors),
            "latency": Counter(int(math.log(max(value, 1e-6)) // BUCKET) for value in latencies),
            "memory_mib": self._process.memory_info().rss / 2**20,
        }

    def take(self) -> Columns:
        """The rows since the last call, handed over so that another thread may write them."""
        columns, self._columns = self._columns, _empty_columns()
        return columns

    def write(self, columns: Columns) -> None:
        """Write rows as the next part; a kill leaves a whole part or none."""
        count = len(columns[0])
        if not count:
            return
        # from the buffers: pa.array and pa.table would import pandas first, which takes a second
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


def parts_folder(folder: Path, scenario: str) -> Path:
    """Where the parts of a scenario's table lie until they are assembled."""
    return folder / "parts" / f"requests-{scenario}"


@dataclass(frozen=True)
class Second:
    """One second of a load, over all its workers."""

    elapsed_s: float  # since the scenario's start
    phase: str  # being played
    offered_rps: float  # requests released in the last second, per second
    throughput_rps: float  # good answers likewise
    in_flight: int  # requests without an outcome
    errors: int  # since the start
    error_share: float  # of the outcomes of the last five seconds, 0 to 1
    p50_ms: float | None  # over the last five seconds, to 2 %; None without a good answer
    p95_ms: float | None
    p99_ms: float | None
    memory_mib: float  # of all workers together

    def line(self, name: str) -> str:
        """The second as one line of text."""
        latencies = [
            f"{label} –" if value is None else f"{label} {value:.1f} ms"
            for label, value in (("P50", self.p50_ms), ("P95", self.p95_ms), ("P99", self.p99_ms))
        ]
        return (
            f"{name} {self.elapsed_s:6.1f} s · {self.phase} · offered {self.offered_rps:.0f}/s · "
            f"answered {self.throughput_rps:.0f}/s · in flight {self.in_flight} · "
            f"errors {self.errors} · {' · '.join(latencies)}"
        )


class ProgressMerger:
    """Merges the progress of all workers into seconds of the load."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._parts: dict[int, dict[str, Any]] = {}
        # of each second: when it ended, sent, good and bad answers until then, its own latencies
        self._recent: deque[tuple[float, int, int, int, Counter[int]]] = deque(maxlen=RECENT + 1)
        self._recent.append((0.0, 0, 0, 0, Counter()))

    def add(self, worker: int, progress: dict[str, Any]) -> Second | None:
        """Take the progress of a worker; returns the second once all workers have sent theirs."""
        self._parts[worker] = progress
        if len(self._parts) < self._workers:
            return None
        parts, self._parts = list(self._parts.values()), {}
        sent, ok, in_flight, memory_mib = (
            sum(part[name] for part in parts) for name in ("sent", "ok", "in_flight", "memory_mib")
        )
        errors = sum(sum(part["errors"].values()) for part in parts)
        elapsed = max(part["elapsed_s"] for part in parts)
        latency: Counter[int] = Counter()
        for part in parts:
            latency.update({int(bucket): count for bucket, count in part["latency"].items()})
        self._recent.append((elapsed, sent, ok, errors, latency))
        (_, _, old_ok, old_errors, _), *last = self._recent
        recent = sum((latency for *_, latency in last), Counter())
        before_s, before_sent, before_ok, *_ = self._recent[-2]
        seconds = max(elapsed - before_s, 1e-9)
        outcomes = ok - old_ok + errors - old_errors
        return Second(
            elapsed_s=elapsed,
            phase=parts[0]["phase"],
            offered_rps=(sent - before_sent) / seconds,
            throughput_rps=(ok - before_ok) / seconds,
            in_flight=in_flight,
            errors=errors,
            error_share=(errors - old_errors) / outcomes if outcomes else 0.0,
            p50_ms=_percentile_ms(recent, 0.50),
            p95_ms=_percentile_ms(recent, 0.95),
            p99_ms=_percentile_ms(recent, 0.99),
            memory_mib=memory_mib,
        )


def _percentile_ms(latency: "Counter[int]", share: float) -> float | None:
    rank, reached = share * latency.total(), 0
    for bucket in sorted(latency):
        reached += latency[bucket]
        if reached >= rank:
            return math.exp((bucket + 0.5) * BUCKET) * 1000
    return None
