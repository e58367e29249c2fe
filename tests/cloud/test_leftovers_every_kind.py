"""One orphan of every kind is found; what belongs to somebody else is not, and is not touched."""

from collections.abc import Iterator

import pytest
from botocore import xform_name

from helpers.cloud import leftovers, sweep
from helpers.cloud.leftovers import Leftover, Scan
from helpers.cloud.resource_kinds import Caller, Kind, ListCall, kind_named, kinds, list_items
from helpers.cloud.sweep import Sweep
from helpers.profile import Profile
from helpers.run import Run
from tests import emulated
from tests.emulated import Emulated, Fault

from .seeds import SEEDERS, Seeds

ALL = [kind.kind for kind in kinds()]
TOKENS = {"NextToken", "nextToken", "NextMarker", "Marker", "NextPageToken"}
Planted = dict[str, dict[str, str]]
every_kind = pytest.mark.parametrize("kind", kinds(), ids=ALL)


@pytest.fixture(scope="module")
def aws() -> Iterator[Emulated]:
    with emulated.installed() as made:
        yield made


@pytest.fixture(scope="module")
def caller(aws: Emulated) -> Caller:
    return Caller.identify(aws.account)


@pytest.fixture(scope="module")
def quick_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run.create(Profile.load_named("quick"), tmp_path_factory.mktemp("outputs"))


@pytest.fixture(scope="module")
def planted(caller: Caller, quick_run: Run) -> Planted:
    """One resource of every kind, three times: this run's, another run's, and a stranger's."""
    owners = {
        "own": Seeds(caller, {"run": quick_run.run_id, "project": "gpu-e2e"}, "plain"),
        "another run's": Seeds(caller, {"run": "another", "project": "gpu-e2e"}, "gpu-e2e"),
        "a stranger's": Seeds(caller, {"project": "else"}, "gpu-e2example"),
    }
    return {owner: {kind: seeds.make(kind) for kind in SEEDERS} for owner, seeds in owners.items()}


@pytest.fixture(scope="module")
def scan(planted: Planted, quick_run: Run, caller: Caller) -> Scan:
    return leftovers.scan(quick_run, caller.account, caller=caller)


@pytest.fixture(scope="module")
def swept(scan: Scan, quick_run: Run, caller: Caller) -> Sweep:
    return sweep.remove_leftovers(
        quick_run, caller.account, scan.found, rounds=5, sleep=lambda _: None
    )


def existing(caller: Caller, kind: Kind) -> set[str]:
    """Every resource of a kind, of every owner."""
    parents = existing(caller, kind_named(kind.within)) if kind.within else {""}
    items = [item for parent in parents for item in list_items(caller, kind, "us-east-1", parent)]
    return {item.id for item in items if not item.ended}


def matching(scan: Scan, kind: str, identifier: str) -> list[Leftover]:
    return [item for item in scan.found if (item.kind, item.id) == (kind, identifier)]


def test_every_list_was_read_and_each_of_at_least_25_kinds_has_an_orphan(scan: Scan) -> None:
    assert len(ALL) >= 25 and set(SEEDERS) == set(ALL) == {item.kind for item in scan.looked}
    assert not scan.not_scanned and not scan.is_clean
    assert len(leftovers.frame(scan)) == len(scan.left)


@every_kind
def test_an_orphan_is_this_runs_own_and_what_another_run_left_is_not(
    kind: Kind, scan: Scan, planted: Planted
) -> None:
    (own,) = (item for item in matching(scan, kind.kind, planted["own"][kind.kind]) if item.owned)
    assert not own.kept
    for step in kind.remove:
        service = {"s3": "s3api"}.get(kind.service, kind.service)
        assert f"aws {service} {step.call.replace('_', '-')} " in own.command
        assert all(f" --{xform_name(name, '-')}" in own.command for name in step.arguments)
    others = matching(scan, kind.kind, planted["another run's"][kind.kind])
    assert any(not item.owned for item in others)


def test_a_stranger_is_not_reported(scan: Scan, planted: Planted) -> None:
    strangers = planted["a stranger's"]
    assert [kind for kind in ALL if matching(scan, kind, strangers[kind])] == ["ECR image"]
    images = [item for item in scan.found if item.kind == "ECR image"]
    assert len(images) == 2  # moto gives every image the same digest; the repository tells them
    assert not any(item.parent.startswith("gpu-e2example") for item in images)


@every_kind
def test_a_kind_that_may_not_be_listed_is_not_scanned_and_none_ends_after_one_page(
    kind: Kind, run: Run, aws: Emulated, caller: Caller, planted: Planted
) -> None:
    client = caller.client(kind.service, "us-east-1")
    operations = client.meta.method_to_api_mapping
    for call in (kind.list, kind.detail, kind.tags, *(step.each for step in kind.remove)):
        if isinstance(call, ListCall):
            answer = client.meta.service_model.operation_model(operations[call.call]).output_shape
            assert client.can_paginate(call.call) or not TOKENS & set(answer.members), call.call
    operation = operations[kind.list.call]
    aws.faults.add(Fault(kind="denied", service=kind.service, operation=operation))
    try:
        only = filter(None, (kind.kind, kind.within))
        scan = leftovers.scan(run, aws.account, only=only, caller=caller)
    finally:
        aws.faults.clear()
    (missing,) = {item.problem for item in scan.not_scanned if item.kind == kind.kind}
    assert operation in missing
    assert not scan.is_clean and "not scanned" in scan.summary


@every_kind
def test_the_sweep_removes_this_runs_own_and_nothing_else(
    kind: Kind, swept: Sweep, caller: Caller, planted: Planted
) -> None:
    left = existing(caller, kind)
    # moto gives every image the same digest: the own one went with its repository
    assert planted["own"][kind.kind] not in left or kind.kind == "ECR image"
    assert {planted["another run's"][kind.kind], planted["a stranger's"][kind.kind]} <= left


def test_the_sweep_says_what_became_of_each(swept: Sweep, scan: Scan) -> None:
    assert len(swept.swept) == len(scan.found)
    assert swept.count("removed") == sum(item.owned for item in scan.found)
    assert swept.count("untouched") == len(scan.found) - swept.count("removed")
    assert not swept.count("failed") and not swept.count("leaving")
