"""A certificate is issued for two clean looks at everything, and for nothing less."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from helpers.cloud import leftovers, zero
from helpers.cloud.resource_kinds import Caller, kind_named
from helpers.cloud.zero import Zero
from helpers.errors import Problem
from helpers.profile import Profile
from helpers.run import Run
from tests import emulated
from tests.emulated import Emulated, Fault

from .seeds import Seeds


@pytest.fixture(scope="module")
def account() -> Iterator[Emulated]:
    with emulated.installed() as made:
        yield made


@pytest.fixture
def aws(account: Emulated, monkeypatch: pytest.MonkeyPatch) -> Iterator[Emulated]:
    """The account, in which only two kinds are looked for."""
    few = tuple(kind_named(name) for name in ("KMS key", "log group"))
    monkeypatch.setattr(leftovers, "kinds", lambda: few)
    yield account
    account.faults.clear()


def certify(run: Run, aws: Emulated, **options: object) -> Zero:
    return zero.certify(run, aws.account, sleep=lambda _: None, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def issued(account: Emulated, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Zero]:
    run = Run.create(Profile.load_named("quick"), tmp_path_factory.mktemp("outputs"))
    return run, certify(run, account)


def test_two_clean_looks_are_certified_and_can_be_verified(issued: tuple[Run, Zero]) -> None:
    run, made = issued
    assert made.issued and len(made.passes) == 2 and made.looks == 2
    assert made.passes[0].at < made.passes[1].at
    assert zero.verify(run.folder / Zero.path()) == made
    assert run.events("zero-certificate")[-1]["sha256"] == made.sha256
    assert len({item.kind for item in made.last.looked}) >= 25
    assert all(item.call.count(".") == 1 and item.region for item in made.last.looked)
    assert f"tag run={run.run_id}" in made.last.filters
    assert made.identity.startswith("arn:aws:")
    table: dict[str, str] = dict(zero.frame(made).itertuples(index=False))
    assert table["Verdict"] == "nothing is left" and table["Terraform's state"] == "empty"


@pytest.mark.parametrize("change", [{"run_id": "another"}, {"passes": []}, {"sha256": "0" * 64}])
def test_a_changed_certificate_is_not_verified(
    change: dict[str, object], issued: tuple[Run, Zero], tmp_path: Path
) -> None:
    run, _ = issued
    forged = tmp_path / "zero.json"
    forged.write_text(json.dumps(json.loads((run.folder / Zero.path()).read_text()) | change))
    with pytest.raises(Problem, match="its checksum differs"):
        zero.verify(forged)


def test_a_checksum_does_not_make_good_what_was_never_clean(
    issued: tuple[Run, Zero], tmp_path: Path
) -> None:
    _, made = issued
    for forged in (
        made.model_copy(update={"passes": made.passes[:1]}),
        made.model_copy(update={"passes": ()}),
        made.model_copy(update={"state": ("aws_vpc.this",)}),
    ):
        path = tmp_path / "zero.json"
        path.write_text(forged.model_copy(update={"sha256": forged.checksum}).model_dump_json())
        with pytest.raises(Problem, match="was not issued"):
            zero.verify(path)


def test_what_is_no_certificate_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "zero.json").write_text("{}")
    for name in ("zero.json", "absent.json"):
        with pytest.raises(Problem, match="is not a zero certificate"):
            zero.verify(tmp_path / name)


def test_a_state_that_is_not_empty_or_a_doubt_refuses_it(run: Run, aws: Emulated) -> None:
    made = certify(run, aws, state=["aws_vpc.this"], doubt="The emulator has ended.")
    assert not made.issued and all(scan.is_clean for scan in made.passes)
    assert made.refused == (
        "Terraform's state still holds 1 resources, aws_vpc.this among them.",
        "The emulator has ended.",
    )


def test_a_kind_that_may_not_be_listed_refuses_it_at_once(run: Run, aws: Emulated) -> None:
    aws.faults.add(Fault(kind="denied", service="kms", operation="ListKeys"))
    made = certify(run, aws)
    assert made.looks == 1 and not made.issued
    assert "KMS key: ListKeys: AccessDeniedException" in made.refused[0]
    with pytest.raises(Problem, match="was not issued"):
        zero.verify(run.folder / Zero.path())


def test_what_goes_meanwhile_is_waited_for_and_what_stays_refuses_it(
    run: Run, aws: Emulated, own: Seeds
) -> None:
    name = own.make("log group")
    standing = certify(run, aws, scans=2)
    assert standing.refused == ("1 resources are left (log group).",)
    assert [item.id for item in standing.last.left] == [name]
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 1:
            own.client("logs").delete_log_group(logGroupName=name)

    made = zero.certify(run, aws.account, sleep=sleep)
    assert made.issued and made.looks == 3 and pauses == [zero.PAUSE_S] * 2
    assert [scan.is_clean for scan in made.passes] == [True, True]


def test_what_comes_back_between_two_looks_refuses_it(
    run: Run, aws: Emulated, caller: Caller
) -> None:
    """EKS re-creates its log group after a destroy (terraform-aws-eks#920)."""
    own = Seeds(caller, {}, "gpu-e2e")

    def sleep(_: float) -> None:
        own.make("log group")

    made = zero.certify(run, aws.account, scans=2, sleep=sleep)
    own.client("logs").delete_log_group(logGroupName="/aws/eks/gpu-e2e-1/cluster")
    assert [scan.is_clean for scan in made.passes] == [True, False]
    assert not made.issued
