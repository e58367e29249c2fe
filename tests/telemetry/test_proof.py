"""Every query of every dashboard is answered by a real Prometheus that scrapes the real Triton."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pytest

from helpers import processes
from helpers.run import Run
from helpers.serving import models, triton
from helpers.serving.endpoint import Endpoint
from helpers.telemetry import answers, board, dashboards, exposition, proof
from helpers.telemetry.answers import Window
from helpers.telemetry.report import Dashboards
from helpers.telemetry.server import Server


@dataclass(frozen=True)
class Busy:
    """A real Triton that has been asked, and the Prometheus that watched it."""

    run: Run
    endpoint: Endpoint
    server: Server
    window: Window
    requests: int


@pytest.fixture(scope="module")
def busy(new_run: Callable[[str], Run]) -> Iterator[Busy]:
    run = new_run("")
    models.prepare(run)
    endpoint = triton.serve(run)
    with proof.watching(run, endpoint) as server:
        begin = datetime.now(UTC)
        asked = proof.keep_busy(run, endpoint, proof.LOAD_S)
        end = datetime.now(UTC)
        yield Busy(run, endpoint, server, Window(begin, end, 1.0), asked)


@pytest.fixture(scope="module")
def proved(busy: Busy) -> Dashboards:
    return proof.record(
        busy.run, busy.server, busy.window, note=exposition.NOT_MEASURED, requests=busy.requests
    )


def test_every_query_of_every_dashboard_is_answered(busy: Busy, proved: Dashboards) -> None:
    assert {one.name: one.absent for one in proved.boards} == {
        name: {} for name in dashboards.NAMES
    }
    assert proved.all_answered
    assert all(one.values >= 2 * one.queries for one in proved.boards)
    assert busy.run.load(Dashboards) == proved
    assert set(proof.frame(proved)["Without a value"]) == {""}


def test_triton_was_really_under_load(busy: Busy, proved: Dashboards) -> None:
    counted = busy.server.query("sum(nv_inference_request_success)", busy.window.end)
    assert proved.requests == busy.requests > 20
    # the last scrape may be a second old
    assert counted["value"].iloc[0] == pytest.approx(busy.requests, rel=0.3)


def test_each_dashboard_is_a_picture_that_says_what_was_not_measured(
    busy: Busy, proved: Dashboards
) -> None:
    folder = busy.run.folder / "dashboards" / "proof"
    for name in dashboards.NAMES:
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        for text in ((folder / f"{name}.svg").read_text(), (folder / f"{name}.txt").read_text()):
            assert exposition.NOT_MEASURED in text


def test_a_query_without_an_answer_is_not_passed_over(busy: Busy) -> None:
    text = dashboards.build(busy.run.profile.kpis)["gpu"]
    broken = board.read(text.replace("DCGM_FI_DEV_GPU_TEMP", "DCGM_FI_DEV_TEMP"))
    found = answers.ask(busy.server, broken, busy.window)
    assert list(found.unanswered()) == ["GPU temperature (A)"]


@pytest.mark.parametrize(("namespace", "answered"), [("triton", True), ("nowhere", False)])
def test_the_variables_select(busy: Busy, namespace: str, answered: bool) -> None:
    for name in ("gpu", "latency"):
        content = json.loads(dashboards.build(busy.run.profile.kpis)[name])
        for panel in content["panels"]:
            for target in panel["targets"]:
                target["expr"] = target["expr"].replace("$namespace", namespace)
        chosen = board.read(json.dumps(content))
        first = answers.ask(busy.server, chosen, busy.window).of(chosen.panels[0])
        assert (not first.empty) is answered


def test_load_and_gpu_are_joined_by_pod(busy: Busy) -> None:
    text = board.read(dashboards.build(busy.run.profile.kpis)["gpu"])
    joined = next(one for one in text.panels if "for each per cent" in one.title)
    lines = answers.ask(busy.server, text, busy.window).of(joined)
    assert set(lines["line"]) == {"triton-0"}
    assert lines["value"].max() > 0


def test_the_rules_are_evaluated_there(busy: Busy) -> None:
    for name in ("gpu_e2e:latency_ms:p95", "gpu_e2e:burn_usd_per_hour", "gpu_e2e:target",
                 "gpu_e2e:limit", "gpu_e2e:requests:rate1m"):  # fmt: skip
        assert not busy.server.query(name).empty


def test_what_was_not_measured_ends_with_the_proof(busy: Busy) -> None:
    # the Prometheus that measures is another one: it never scrapes documented text
    assert processes.find(busy.run, "prometheus") is None
    assert processes.find(busy.run, proof.PLACE.service) is not None
    # and this one keeps no GPU series of this machine, should it have a GPU
    assert set(busy.server.query("gpu_e2e_gpu_info")["job"]) == {proof.DCGM}
    assert exposition.DCGM.read_text().startswith("# Documented exposition, not measured")
