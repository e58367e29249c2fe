"""The emulated AWS account behind a server on 127.0.0.1, for Terraform and every other program.

python -m helpers.rehearsal.server PORT
"""

import io
import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from werkzeug.serving import make_server
from werkzeug.wrappers import Request, Response

from helpers.errors import Problem

HOST = "127.0.0.1"  # any client of the server has full access to the account
HEALTH = "/rehearsal-api/health"
KEPT_ANSWERS = 1000  # a client repeats a request within seconds
LARGEST_KEPT = 64 << 10  # bytes; larger answers are of reads, which may be repeated
CLEAN = {
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}


def without_user_settings(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with every AWS setting of the user removed."""
    kept = {key: value for key, value in environment.items() if not key.startswith("AWS_")}
    return kept | CLEAN


class Application:
    """WSGI application: moto, one request at a time, each invocation answered once.

    Moto iterates over its dictionaries without locks, so concurrent requests fail. Terraform
    loses about one answer in some thousand and repeats the request; without the kept answer, a
    repeated CreateRole would be refused because the role exists.
    """

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import (  # reads AWS settings when it is imported
            DomainDispatcherApplication,
            create_backend_app,
        )

        from helpers.rehearsal import moto_extension

        moto_extension.install()
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._one_at_a_time = threading.Lock()
        self._answers: OrderedDict[str, tuple[int, list[tuple[str, str]], bytes]] = OrderedDict()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Answer one request."""
        environ["wsgi.input"] = io.BytesIO(_body(environ))
        return self.respond(Request(environ))(environ, start_response)

    def respond(self, request: Request) -> Response:
        """The answer to a request, or the one that an earlier attempt of it got."""
        if request.path == HEALTH:
            return Response("{}", content_type="application/json")
        # AWS's SDKs number their invocations: `add_retry_headers` in botocore's handlers.py
        invocation = request.headers.get("amz-sdk-invocation-id", "")
        with self._one_at_a_time:
            if kept := self._answers.get(invocation):
                return Response(kept[2], kept[0], kept[1])
            response = self._ask_moto(request)
            if invocation and response.status_code < 300 and len(response.data) <= LARGEST_KEPT:
                kept = (response.status_code, list(response.headers), response.data)
                self._answers[invocation] = kept
                if len(self._answers) > KEPT_ANSWERS:
                    self._answers.popitem(last=False)
            return response

    def _ask_moto(self, request: Request) -> Response:
        request.environ["wsgi.input"].seek(0)
        host = self._moto.infer_service_region_host(request.environ, request.path)
        if host and not self._moto.get_backend_for_host(host):
            return _not_emulated(request)
        request.environ["wsgi.input"].seek(0)
        try:
            response = Response.from_app(self._moto, request.environ, buffered=True)
        except Exception as error:
            traceback.print_exc()
            return _refusal("EmulatorFailure", f"The AWS emulator failed: {error!r}")
        html = b"<!doctype html>" in response.data[:20].lower()
        no_answer = not response.data and request.method != "HEAD"
        if response.status_code in (404, 405) and (html or no_answer):  # Flask: no route
            return _not_emulated(request)
        return response


def serve(port: int, application: Callable[[], Application] = Application) -> None:
    """Answer requests of this machine until SIGTERM or SIGINT."""
    clean = without_user_settings(os.environ) | {"MOTO_PORT": str(port)}
    os.environ.clear()
    os.environ.update(clean)
    from moto.moto_server.werkzeug_app import MotoRequestHandler

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # a rehearsal makes thousands of requests
    handler = MotoRequestHandler
    server = make_server(HOST, port, application(), threaded=True, request_handler=handler)

    def stop(_signal: int, _frame: object) -> None:
        # in another thread: shutdown waits for the loop that this handler interrupts
        threading.Thread(target=server.shutdown).start()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    print(f"AWS emulator on http://{HOST}:{port}", flush=True)
    server.serve_forever(poll_interval=0.1)


def _body(environ: dict[str, Any]) -> bytes:
    """The whole body, also where it came in chunks."""
    chunked = environ.pop("HTTP_TRANSFER_ENCODING", "") == "chunked"
    length = -1 if chunked else int(environ.get("CONTENT_LENGTH") or 0)
    body: bytes = environ["wsgi.input"].read(length)
    environ.pop("wsgi.input_terminated", None)
    environ["CONTENT_LENGTH"] = str(len(body))
    return body


def _not_emulated(request: Request) -> Response:
    return _refusal(
        "NotEmulated",
        f"The AWS emulator of the rehearsal does not answer {request.method} {request.path}; "
        "only AWS itself does.",
    )


def _refusal(code: str, message: str) -> Response:
    headers = {"Content-Type": "application/json", "X-Amzn-ErrorType": code}
    return Response(json.dumps({"__type": code, "message": message}), 501, headers)


if __name__ == "__main__":
    try:
        serve(int(sys.argv[1]))
    except Problem as problem:
        sys.exit(str(problem))
