"""How an emulator that runs in a process of its own is told what to be like."""

from collections.abc import Callable
from typing import Any

from moto.core.base_backend import BackendDict
from pydantic import TypeAdapter, ValidationError
from werkzeug.wrappers import Request, Response

from helpers.rehearsal.double.faults import Fault, Faults
from helpers.rehearsal.double.world import World

PREFIX = "/rehearsal-api/"
_FAULTS = TypeAdapter(list[Fault])


class Control:
    """The emulator's own HTTP interface, beside that of AWS.

    `GET health`; `POST faults` (a list), `DELETE faults`; `GET world`, `PATCH world` (a part of
    it); `POST reset` (an empty account, the first world, no faults).
    """

    def __init__(self, world: World, faults: Faults) -> None:
        self._world = world
        self._faults = faults
        self._verbs: dict[tuple[str, str], Callable[[Request], Any]] = {
            ("GET", "health"): lambda _: {"healthy": True},
            ("GET", "world"): lambda _: self._world.model_dump(mode="json"),
            ("PATCH", "world"): self._change_world,
            ("POST", "faults"): self._add_faults,
            ("DELETE", "faults"): self._clear_faults,
            ("POST", "reset"): self._reset,
        }

    def respond(self, request: Request) -> Response:
        """Carry out what is asked, and say what came of it as JSON."""
        verb = self._verbs.get((request.method, request.path.removeprefix(PREFIX)))
        if verb is None:
            return Response("There is no such thing here.\n", 404)
        try:
            answer = verb(request)
        except ValidationError as error:
            return Response(f"{error}\n", 422)
        return Response(_json(answer), content_type="application/json")

    def _change_world(self, request: Request) -> Any:
        self._world.change(request.get_json())
        return self._world.model_dump(mode="json")

    def _add_faults(self, request: Request) -> Any:
        self._faults.add(*_FAULTS.validate_python(request.get_json()))
        return _FAULTS.dump_python(list(self._faults))

    def _clear_faults(self, _request: Request) -> Any:
        self._faults.clear()
        return []

    def _reset(self, _request: Request) -> Any:
        BackendDict.reset()
        self._faults.clear()
        self._world.become(World())
        return {}


def _json(value: Any) -> bytes:
    return TypeAdapter(Any).dump_json(value)
