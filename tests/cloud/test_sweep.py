"""The sweep takes what is this run's own, reads the tag again, and goes in order."""

from collections.abc import Iterator

import pytest

from helpers.cloud import leftovers, sweep
from helpers.cloud.leftovers import Leftover
from helpers.cloud.resource_kinds import Caller
from helpers.cloud.sweep import Sweep
from helpers.run import Run
from tests import emulated
from tests.emulated import Emulated, Fault

from .seeds import Seeds

KINDS = ["VPC", "subnet", "security group", "internet gateway", "route table", "role", "policy"]


@pytest.fixture
def aws() -> Iterator[Emulated]:
    with emulated.installed() as made:
        yield made


@pytest.fixture
def own(aws: Emulated, run: Run) -> Seeds:
    return Seeds(Caller.identify(aws.account), {"run": run.run_id}, "plain")


def found(run: Run, own: Seeds, *only: str) -> tuple[Leftover, ...]:
    return leftovers.scan(run, own.account, only=only, caller=own.callers).found


def swept(run: Run, own: Seeds, what: tuple[Leftover, ...], rounds: int = 3) -> Sweep:
    return sweep.remove_leftovers(run, own.account, what, rounds=rounds, sleep=lambda _: None)


def test_a_whole_network_goes_from_its_leaves_to_its_vpc(run: Run, own: Seeds) -> None:
    tags = own.pairs
    own.ec2.create_tags(Resources=[own.vpc, *own.subnets], Tags=tags)
    for kind in ("security group", "internet gateway", "route table"):
        own.make(kind)
    what = found(run, own, *KINDS)
    made = swept(run, own, tuple(reversed(what)))
    assert made.count("removed") == len(what) >= 6
    assert made.swept[-1].kind == "VPC"
    assert not found(run, own, *KINDS)
    assert run.load(Sweep) == made


def test_a_tag_that_is_taken_off_meanwhile_protects(run: Run, own: Seeds) -> None:
    identity = own.make("volume")
    what = found(run, own, "volume")
    own.ec2.delete_tags(Resources=[identity], Tags=[{"Key": "run"}])
    made = swept(run, own, what)
    assert (made.swept[0].outcome, made.swept[0].reason) == (
        "untouched",
        "does not have this run's tag any more",
    )
    assert own.ec2.describe_volumes(VolumeIds=[identity])["Volumes"]


def test_what_claims_to_be_owned_is_not_believed(run: Run, own: Seeds) -> None:
    other = Seeds(own.callers, {"run": "another", "project": "gpu-e2e"}, "gpu-e2e")
    other.make("log group")
    (one,) = found(run, own, "log group")
    made = swept(run, own, (one.model_copy(update={"owned": True}),))
    assert made.swept[0].outcome == "untouched"


def test_an_image_and_an_object_go_with_what_holds_them(run: Run, own: Seeds) -> None:
    own.make("ECR image")
    own.make("S3 object version")
    kinds = ("ECR image", "ECR repository", "S3 object version", "S3 bucket")
    what = found(run, own, *kinds)
    made = swept(run, own, what)
    assert made.count("removed") == len(what) == 5  # an object and its delete marker
    assert not found(run, own, *kinds)


def test_an_image_alone_is_removed_alone(run: Run, own: Seeds) -> None:
    own.make("ECR image")
    images = tuple(
        one for one in found(run, own, "ECR image", "ECR repository") if one.kind == "ECR image"
    )
    assert swept(run, own, images).count("removed") == 1
    left = found(run, own, "ECR image", "ECR repository")
    assert [one.kind for one in left] == ["ECR repository"]


def test_a_policy_that_a_foreign_role_uses_is_not_taken_from_it(
    run: Run, own: Seeds, aws: Emulated
) -> None:
    arn = own.make("policy")
    iam = own.client("iam")
    iam.attach_role_policy(RoleName=own.role.rpartition("/")[2], PolicyArn=arn)
    in_use = Fault(kind="error", service="iam", operation="DeletePolicy", code="DeleteConflict")
    aws.faults.add(in_use)  # moto would delete it all the same
    made = swept(run, own, found(run, own, "policy"))
    assert made.swept[0].outcome == "failed" and "DeleteConflict" in made.swept[0].reason
    assert "DetachRolePolicy" not in {one.action for one in aws.calls}


def test_what_holds_something_else_is_tried_again(run: Run, own: Seeds, aws: Emulated) -> None:
    own.make("volume")
    busy = Fault(kind="error", service="ec2", operation="DeleteVolume", times=2, code="VolumeInUse")
    aws.faults.add(busy)
    made = swept(run, own, found(run, own, "volume"), rounds=3)
    assert made.summary == "1 removed"


def test_a_missing_permission_is_not_tried_again(run: Run, own: Seeds, aws: Emulated) -> None:
    own.make("volume")
    what = found(run, own, "volume")
    aws.faults.add(Fault(kind="denied", service="ec2", operation="DeleteVolume"))
    made = swept(run, own, what, rounds=9)
    assert made.summary == "1 failed" and "UnauthorizedOperation" in made.swept[0].reason
    assert sum(one.action == "DeleteVolume" for one in aws.calls) == 1


def test_it_gives_up_when_nothing_moves(run: Run, own: Seeds, aws: Emulated) -> None:
    own.make("volume")
    what = found(run, own, "volume")
    aws.faults.add(Fault(kind="error", service="ec2", operation="DeleteVolume", code="VolumeInUse"))
    made = swept(run, own, what, rounds=99)
    tries = sum(one.action == "DeleteVolume" for one in aws.calls)
    assert made.summary == "1 failed" and tries == 1 + sweep.IDLE_ROUNDS


def test_what_is_gone_already_counts_as_removed(run: Run, own: Seeds) -> None:
    identity = own.make("volume")
    what = found(run, own, "volume")
    own.ec2.delete_volume(VolumeId=identity)
    assert swept(run, own, what).summary == "1 removed"
    assert swept(run, own, ()).summary == "nothing to sweep"
