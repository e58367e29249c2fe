"""What every client has in common: the request it carries and the outcomes it may report."""

from collections.abc import Callable
from math import nan
from typing import Any, Protocol

OK = "ok"
TIMEOUT = "timeout"  # no answer within the scenario's time-out
REFUSED = "refused"  # no connection could be made
TLS = "tls"  # the connection could not be secured
DISCONNECTED = "disconnected"  # the server closed the connection before its answer was whole
BAD_HTTP = "bad-http"  # an answer that is not HTTP/1.1 with a declared length
BAD_OUTPUT = "bad-output"  # success was claimed, but the output tensor is missing or truncated


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
        self.sent = nan
        self.done = nan
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
        """Give a request up: an answer that still comes is not credited to anything."""

    async def close(self) -> None:
        """End every connection."""
