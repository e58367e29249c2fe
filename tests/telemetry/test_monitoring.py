"""What a run says of the cluster's monitoring, and whom it can ask."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest

from helpers import programs
from helpers.cluster.records import Releases
from helpers.errors import Unavailable
from helpers.run import Run
from helpers.serving.endpoint import Endpoint
from helpers.telemetry import access, monitoring
from helpers.telemetry.access import Access

from .imitation import Watched, endpoint_on


def releases(label: str, note: str) -> Releases:
    one = {"chart": "x 1", "namespace": "monitoring", "digest": "", "label": label, "note": note}
    names = ("kube-prometheus-stack", "dcgm-exporter")
    return Releases.model_validate({"releases": [{"name": name, **one} for name in names]})


@pytest.mark.parametrize(
    ("label", "status"),
    [("STATIC", "STATIC"), ("NOT CHECKED", "NOT REHEARSED"), ("FAILED", "FAILED")],
)
def test_a_rehearsal_says_what_stage_02_saw_of_the_charts(
    run: Run, label: str, status: str
) -> None:
    run.save(releases(label, "a note"))
    found = monitoring.look(run, Access(None))
    assert {str(tick.status) for tick in found.values()} == {status}
    assert {tick.note for tick in found.values()} == {"a note"}


def test_without_stage_02_it_is_not_rehearsed(run: Run) -> None:
    found = monitoring.look(run, Access(None))
    assert set(found) == {"04.operator", "04.dcgm"}
    assert all(str(tick.status) == "NOT REHEARSED" for tick in found.values())


@pytest.mark.parametrize(("rows", "status"), [(2, "VERIFIED"), (0, "FAILED")])
def test_a_cluster_is_believed_by_what_its_prometheus_answers(
    new_run: Callable[[str], Run], rows: int, status: str
) -> None:
    run = new_run("target=aws")
    run.write("records/04/targets.json", "{}")
    server = SimpleNamespace(query=lambda _: pd.DataFrame({"value": [1.0] * rows}))
    seen = Access(cast(Any, server), cluster=cast(Any, SimpleNamespace()))
    assert {str(tick.status) for tick in monitoring.look(run, seen).values()} == {status}


def test_a_rehearsal_asks_its_own_prometheus_and_no_grafana(watched: Watched) -> None:
    found = access.of(watched.run, watched.imitation.endpoint)
    assert found == Access(watched.server)


def test_without_prometheus_the_load_goes_on_and_stage_04_does_not(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(programs, "TOOLS", run.folder)
    monkeypatch.setenv("PATH", "")
    nobody: Endpoint = endpoint_on(1)
    with pytest.raises(Unavailable, match="no prometheus on this machine"):
        access.of(run, nobody)
    assert access.where_possible(run, nobody) == Access(None)
    assert "No series of server and machine: There is no prometheus" in capsys.readouterr().out
