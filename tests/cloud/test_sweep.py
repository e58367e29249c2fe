"""The sweep takes what is this run's own, reads the tag again, and goes in order."""

import pytest

from helpers.cloud import leftovers, sweep
from helpers.cloud.leftovers import Leftover
from helpers.cloud.sweep import Sweep
from helpers.run import Run
from tests.emulated import Emulated, Fault

from .seeds import Seeds

KINDS = ["VPC", "subnet", "security group", "internet gateway", "route table", "role", "policy"]


def found(run: Run, own: Seeds, *only: str) -> tuple[Leftover, ...]:
    return leftovers.scan(run, own.account, only=only, caller=own.callers).found


def swept(run: Run, own: Seeds, what: tuple[Leftover, ...], rounds: int = 3) -> Sweep:
    return sweep.remove_leftovers(run, own.account, what, rounds=rounds, sleep=lambda _: None)


def test_a_whole_network_goes_from_its_leaves_to_its_vpc(run: Run, own: Seeds) -> None:
    own.ec2.create_tags(Resources=[own.vpc, *own.subnets], Tags=own.pairs)
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
    assert made.swept[0].outcome == "untouched" and "run's tag any more" in made.swept[0].reason
    assert own.ec2.describe_volumes(VolumeIds=[identity])["Volumes"]


def test_what_claims_to_be_owned_is_not_believed(run: Run, own: Seeds) -> None:
    Seeds(own.callers, {"run": "another", "project": "gpu-e2e"}, "gpu-e2e").make("log group")
    (item,) = found(run, own, "log group")
    made = swept(run, own, (item.model_copy(update={"owned": True}),))
    assert made.swept[0].outcome == "untouched"


def test_an_image_is_removed_alone_or_with_its_repository(run: Run, own: Seeds) -> None:
    kinds = ("ECR image", "ECR repository", "S3 object version", "S3 bucket")
    own.make("ECR image")
    own.make("S3 object version")
    image = next(item for item in found(run, own, *kinds) if item.kind == "ECR image")
    assert swept(run, own, (image,)).count("removed") == 1
    left = found(run, own, *kinds)
    # an object and its delete marker go with the bucket
    assert sorted(item.kind for item in left) == sorted((*kinds[1:], "S3 object version"))
    assert swept(run, own, left).count("removed") == len(left)
    assert not found(run, own, *kinds)


def test_a_policy_that_a_foreign_role_uses_is_not_taken_from_it(
    run: Run, own: Seeds, aws: Emulated
) -> None:
    arn, name = own.make("policy"), own.role.rpartition("/")[2]
    own.client("iam").attach_role_policy(RoleName=name, PolicyArn=arn)
    in_use = Fault(kind="error", service="iam", operation="DeletePolicy", code="DeleteConflict")
    aws.faults.add(in_use)  # moto would delete it all the same
    made = swept(run, own, found(run, own, "policy"))
    assert made.swept[0].outcome == "failed" and "DeleteConflict" in made.swept[0].reason
    assert "DetachRolePolicy" not in {call.action for call in aws.calls}


@pytest.mark.parametrize(
    ("fault", "summary", "tries"),
    [
        ({"kind": "error", "code": "VolumeInUse", "times": 2}, "1 removed", 3),
        ({"kind": "error", "code": "VolumeInUse"}, "1 failed", 1 + sweep.IDLE_ROUNDS),
        ({"kind": "denied"}, "1 failed", 1),
    ],
    ids=["busy for a while", "busy for ever", "denied"],
)
def test_what_something_holds_is_tried_again_but_no_missing_permission(
    fault: dict[str, object], summary: str, tries: int, run: Run, own: Seeds, aws: Emulated
) -> None:
    own.make("volume")
    volumes = found(run, own, "volume")
    where = {"service": "ec2", "operation": "DeleteVolume"}
    aws.faults.add(Fault.model_validate(fault | where))
    assert swept(run, own, volumes, rounds=99).summary == summary
    assert sum(call.action == "DeleteVolume" for call in aws.calls) == tries


def test_what_is_gone_already_counts_as_removed(run: Run, own: Seeds) -> None:
    identifier = own.make("volume")
    volumes = found(run, own, "volume")
    own.ec2.delete_volume(VolumeId=identifier)
    assert swept(run, own, volumes).summary == "1 removed"
    assert swept(run, own, ()).summary == "nothing to sweep"
