"""A real registry on loopback, which ends with the run."""

import pytest
import requests

from helpers import processes, programs
from helpers.errors import Unavailable
from helpers.rehearsal import registry
from helpers.run import Run


@pytest.mark.usefixtures("needs_registry")
def test_the_registry_is_found_again_and_listens_on_loopback_alone(run: Run) -> None:
    url = registry.serve(run)
    assert registry.serve(run) == url
    service = processes.find(run, registry.NAME)
    assert service is not None and service.process is not None
    listening = {
        one.laddr.ip
        for process in service.process.children(recursive=True)
        for one in process.net_connections("inet")
        if one.status == "LISTEN"
    }
    assert listening == {"127.0.0.1"}
    processes.stop(run, registry.NAME)
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/v2/", timeout=2)


def test_without_a_registry_program_it_is_said_how_to_get_one(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "find", lambda name: None)
    with pytest.raises(Unavailable, match=r"no image can be pushed.*make setup"):
        registry.serve(run)
