"""A real registry on loopback, which ends with the run."""

import psutil
import pytest
import requests

from helpers import processes, programs
from helpers.errors import Unavailable
from helpers.rehearsal import registry
from helpers.run import Run


def listens_on(service: processes.Service | None) -> set[str]:
    """The addresses that a service accepts connections on."""
    assert service is not None and service.process is not None
    family = [service.process, *service.process.children(recursive=True)]
    sockets = [socket for process in family for socket in process.net_connections("inet")]
    return {socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN}


@pytest.mark.usefixtures("needs_registry")
def test_the_registry_is_found_again_and_listens_on_loopback_alone(run: Run) -> None:
    url = registry.serve(run)
    assert registry.serve(run) == url
    assert listens_on(processes.find(run, registry.NAME)) == {"127.0.0.1"}
    processes.stop(run, registry.NAME)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/v2/", timeout=2)


def test_a_missing_registry_program_is_named_with_how_to_get_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "find", lambda name: None)
    with pytest.raises(Unavailable, match=r"no image can be pushed.*make setup"):
        registry.serve(run)
