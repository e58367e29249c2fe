"""A real registry on loopback: what is pushed comes back byte for byte, and ends with the run."""

from pathlib import Path

import pytest
import requests

from helpers import processes, programs
from helpers.errors import Unavailable
from helpers.rehearsal import registry
from helpers.run import Run
from helpers.serving import oci


@pytest.mark.usefixtures("needs_registry")
def test_an_image_comes_back_with_the_digest_it_was_pushed_with(run: Run, repository: Path) -> None:
    url = registry.serve(run)
    image = oci.build(repository, "models", {"a": "b"})
    oci.push(image, url, "gpu-e2e/triton", "t")
    assert oci.read_back(url, "gpu-e2e/triton", "t") == (
        image.digest,
        ["models/m/1/model.onnx", "models/m/config.pbtxt"],
    )
    by_digest = oci.read_back(url, "gpu-e2e/triton", image.digest)
    assert by_digest[0] == image.digest


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


def test_equal_content_has_an_equal_digest_whenever_it_was_written(repository: Path) -> None:
    first = oci.build(repository, "models", {}).digest
    path = repository / "m/config.pbtxt"
    path.write_text(path.read_text())
    assert oci.build(repository, "models", {}).digest == first
    path.write_text("name: 'n'\n")
    assert oci.build(repository, "models", {}).digest != first
