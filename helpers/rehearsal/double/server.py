"""The double behind a server: its own interface, its answers, and moto's for the rest."""

import io
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from moto.core.request import Request
from moto.moto_server.werkzeug_app import (
    DomainDispatcherApplication,
    MotoRequestHandler,
    create_backend_app,
)
from werkzeug.serving import BaseWSGIServer, make_server
from werkzeug.wrappers import Response

from helpers.rehearsal.double.control import PREFIX, Control
from helpers.rehearsal.double.faults import Faults
from helpers.rehearsal.double.gate import ONE_AT_A_TIME, Gate, failed, not_emulated
from helpers.rehearsal.double.mended import mend
from helpers.rehearsal.double.recording import File
from helpers.rehearsal.double.retries import Answered
from helpers.rehearsal.double.wire import Answer, Asked, scope_of
from helpers.rehearsal.double.world import World


class Application:
    """WSGI: the emulator's own interface, the double's answers, and moto's for the rest."""

    def __init__(self, record: Callable[[Asked], None]) -> None:
        world, faults = World(), Faults()
        self._control = Control(world, faults)
        self._gate = Gate(world, faults, record)
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._answered = Answered()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request."""
        body = _take_body(environ)
        request = Request(environ)
        if request.path.startswith(PREFIX):
            return self._control.respond(request)(environ, start_response)
        if presigned := scope_of(request):  # moto looks for the service in this header alone
            environ["HTTP_AUTHORIZATION"] = presigned
        response = self._answered.before(request)
        if response is None:
            response = self._answer(request, body)
            self._answered.keep(request, response)
        return response(environ, start_response)

    def _answer(self, request: Request, body: bytes) -> Response:
        asked, answer = self._gate.pass_through(request)
        if answer is not None:
            return _response(answer)
        request.environ["wsgi.input"] = io.BytesIO(body)  # the gate may have read it
        try:
            with ONE_AT_A_TIME:
                response = Response.from_app(self._moto, request.environ, buffered=True)
        except NotImplementedError:
            return _response(not_emulated(asked)) if asked else Response(status=501)
        except Exception as error:
            traceback.print_exc()
            return _response(failed(asked, error)) if asked else Response(status=501)
        if asked and _is_flask_s(response):
            return _response(not_emulated(asked))
        return response


def _take_body(environ: dict[str, Any]) -> bytes:
    """The body, read once and put back; one that came in chunks is put back whole."""
    if environ.pop("HTTP_TRANSFER_ENCODING", "") == "chunked":
        body: bytes = environ["wsgi.input"].read()
        environ.pop("wsgi.input_terminated", None)
        environ["CONTENT_LENGTH"] = str(len(body))
    else:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _is_flask_s(response: Response) -> bool:
    """Whether Flask found no route: AWS answers no such page."""
    return response.status_code in (404, 405) and b"<!doctype html>" in response.data[:20].lower()


def _response(answer: Answer) -> Response:
    status, headers, body = answer
    return Response(body, status, headers)


class Quiet(MotoRequestHandler):
    """Logs errors only: a rehearsal makes thousands of requests."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: what was asked is recorded elsewhere."""


def bind(host: str, port: int, calls: Path | None) -> BaseWSGIServer:
    """A server that listens, and serves once it is told to.

    Args:
        host: Address to listen on.
        port: Port to listen on.
        calls: File that every request is recorded in; None records nothing.

    Raises:
        Problem: It is another moto than the one whose insides are known here.
    """
    mend()
    application = Application(File(calls) if calls else _ignore)
    return make_server(host, port, application, threaded=True, request_handler=Quiet)


def _ignore(_asked: Asked) -> None:
    """Requests are not recorded."""
