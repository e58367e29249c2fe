"""One orphan of every kind is found; what belongs to somebody else is not, and is not touched."""

from collections.abc import Iterator

import boto3
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

ALL = [one.kind for one in kinds()]
TOKENS = {"NextToken", "nextToken", "NextMarker", "Marker", "NextPageToken"}


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
def planted(caller: Caller, quick_run: Run) -> dict[str, dict[str, str]]:
    """One resource of every kind, three times: this run's, another run's, and a stranger's."""
    owners = {
        "own": Seeds(caller, {"run": quick_run.run_id, "project": "gpu-e2e"}, "plain"),
        "another run's": Seeds(caller, {"run": "another", "project": "gpu-e2e"}, "gpu-e2e"),
        "a stranger's": Seeds(caller, {"project": "else"}, "gpu-e2example"),
    }
    return {owner: {kind: seeds.make(kind) for kind in SEEDERS} for owner, seeds in owners.items()}


@pytest.fixture(scope="module")
def seen(planted: dict[str, dict[str, str]], quick_run: Run, caller: Caller) -> Scan:
    return leftovers.scan(quick_run, caller.account, caller=caller)


@pytest.fixture(scope="module")
def swept(seen: Scan, quick_run: Run, caller: Caller) -> Sweep:
    return sweep.remove_leftovers(
        quick_run, caller.account, seen.found, rounds=5, sleep=lambda _: None
    )


def there(caller: Caller, kind: Kind) -> set[str]:
    """What there is of a kind now, whoever it belongs to."""
    parents = there(caller, kind_named(kind.within)) if kind.within else {""}
    items = [one for parent in parents for one in list_items(caller, kind, "us-east-1", parent)]
    return {one.id for one in items if not one.ended}


def matching(seen: Scan, kind: str, identity: str) -> list[Leftover]:
    return [one for one in seen.found if (one.kind, one.id) == (kind, identity)]


def test_at_least_25_kinds_are_looked_for_and_each_has_an_orphan_here() -> None:
    assert len(ALL) >= 25
    assert set(SEEDERS) == set(ALL)


@pytest.mark.parametrize("kind", ALL)
def test_an_orphan_is_found_and_is_this_runs_own(
    kind: str, seen: Scan, planted: dict[str, dict[str, str]]
) -> None:
    found = [one for one in matching(seen, kind, planted["own"][kind]) if one.owned]
    assert len(found) == 1
    assert found[0].command.startswith("aws ")
    assert not found[0].kept


@pytest.mark.parametrize("kind", ALL)
def test_what_another_run_left_is_reported_but_is_not_ours_to_remove(
    kind: str, seen: Scan, planted: dict[str, dict[str, str]]
) -> None:
    found = matching(seen, kind, planted["another run's"][kind])
    assert any(not one.owned for one in found)


def test_a_stranger_is_not_reported(seen: Scan, planted: dict[str, dict[str, str]]) -> None:
    strangers = planted["a stranger's"]
    assert [kind for kind in ALL if matching(seen, kind, strangers[kind])] == ["ECR image"]
    images = [one for one in seen.found if one.kind == "ECR image"]
    assert len(images) == 2  # moto gives every image the same digest; the repository tells them
    assert not any(one.parent.startswith("gpu-e2example") for one in images)


def test_every_list_was_read(seen: Scan) -> None:
    assert {one.kind for one in seen.looked} == set(ALL)
    assert not seen.not_scanned and not seen.is_clean


def test_the_table_names_the_command_of_each_leftover(seen: Scan) -> None:
    table = leftovers.frame(seen)
    assert len(table) == len(seen.left)
    assert set(table["This run's own"]) == {"yes", "no: not touched"}


@pytest.mark.parametrize("kind", ALL)
def test_a_kind_that_may_not_be_listed_is_not_scanned(
    kind: str, run: Run, aws: Emulated, caller: Caller, planted: dict[str, dict[str, str]]
) -> None:
    one = next(each for each in kinds() if each.kind == kind)
    operation = caller.client(one.service, "us-east-1").meta.method_to_api_mapping[one.list.call]
    aws.faults.add(Fault(kind="denied", service=one.service, operation=operation))
    only = [kind, one.within] if one.within else [kind]
    try:
        seen = leftovers.scan(run, aws.account, only=only, caller=caller)
    finally:
        aws.faults.clear()
    assert kind in {each.kind for each in seen.not_scanned}
    assert not seen.is_clean and "not scanned" in seen.summary
    assert operation in next(each.problem for each in seen.looked if each.kind == kind)


@pytest.mark.parametrize("kind", kinds(), ids=ALL)
def test_every_call_of_the_table_exists_and_takes_its_arguments(kind: Kind) -> None:
    client = boto3.client(
        kind.service, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y"
    )
    asks = [kind.list, kind.detail, kind.tags, *(step.each for step in kind.remove)]
    lists = [ask for ask in asks if isinstance(ask, ListCall)]
    calls = [(ask.call, ask.arguments) for ask in lists]
    calls += [(step.call, step.arguments) for step in kind.remove]
    models = client.meta.service_model
    for call, arguments in calls:
        shape = models.operation_model(client.meta.method_to_api_mapping[call]).input_shape
        assert set(arguments) <= set(shape.members if shape else {}), call
        assert set(shape.required_members if shape else []) <= set(arguments), call
    for ask in lists:
        answer = models.operation_model(client.meta.method_to_api_mapping[ask.call]).output_shape
        more = TOKENS & set(answer.members)
        assert client.can_paginate(ask.call) or not more, f"{ask.call} would end after one page"


@pytest.mark.parametrize("kind", ALL)
def test_a_command_holds_the_options_that_the_call_has(
    kind: str, seen: Scan, planted: dict[str, dict[str, str]]
) -> None:
    one = next(each for each in kinds() if each.kind == kind)
    found = matching(seen, kind, planted["own"][kind])[0]
    for step in one.remove:
        service = {"s3": "s3api"}.get(one.service, one.service)
        assert f"aws {service} {step.call.replace('_', '-')} " in found.command
        for name in step.arguments:
            assert f" --{xform_name(name, '-')}" in found.command


@pytest.mark.parametrize("kind", kinds(), ids=ALL)
def test_the_sweep_removes_this_runs_own_and_nothing_else(
    kind: Kind, swept: Sweep, caller: Caller, planted: dict[str, dict[str, str]]
) -> None:
    left = there(caller, kind)
    assert planted["another run's"][kind.kind] in left
    # moto gives every image the same digest: the own one went with its repository
    assert planted["own"][kind.kind] not in left or kind.kind == "ECR image"
    assert planted["a stranger's"][kind.kind] in left


def test_the_sweep_says_what_became_of_each(swept: Sweep, seen: Scan) -> None:
    assert len(swept.swept) == len(seen.found)
    assert swept.count("removed") == sum(one.owned for one in seen.found)
    assert swept.count("untouched") == len(seen.found) - swept.count("removed")
    assert not swept.count("failed") and not swept.count("leaving")
