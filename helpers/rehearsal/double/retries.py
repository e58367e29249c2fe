"""What a client asks again because the answer was lost on its way is not done twice."""

from collections import OrderedDict
from threading import Lock

from moto.core.request import Request
from werkzeug.wrappers import Response

KEPT = 1000  # answers; a client asks again within seconds
LARGEST = 64 << 10  # bytes of an answer that is kept; larger ones are of reads, which do no harm


class Answered:
    """Good answers by the number that AWS's SDKs give to an invocation, whatever its attempts.

    Source: `add_retry_headers` of botocore's `handlers.py`; the SDK for Go, which Terraform speaks
    with, sends the same header.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._kept: OrderedDict[str, tuple[int, list[tuple[str, str]], bytes]] = OrderedDict()

    def before(self, request: Request) -> Response | None:
        """The answer that an earlier attempt got; None where there was none, or no good one."""
        with self._lock:
            kept = self._kept.get(_invocation(request))
        if kept is None:
            return None
        status, headers, body = kept
        return Response(body, status, headers)

    def keep(self, request: Request, response: Response) -> None:
        """Keep a good answer for a while."""
        invocation = _invocation(request)
        if not invocation or response.status_code >= 300 or len(response.data) > LARGEST:
            return
        with self._lock:
            kept = (response.status_code, list(response.headers), response.data)
            self._kept[invocation] = kept
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)


def _invocation(request: Request) -> str:
    return request.headers.get("amz-sdk-invocation-id", "")
