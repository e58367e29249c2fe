"""How the leftover scan judges, and what it says when it cannot look."""

from pathlib import Path

import pytest

from helpers.cloud import leftovers
from helpers.cloud.leftovers import Marks, Scan
from helpers.cloud.resource_kinds import Caller
from helpers.errors import Problem
from helpers.profile import Profile
from helpers.run import Run
from tests.emulated import Emulated, Fault

from .seeds import Seeds


def scan(run: Run, caller: Caller, *only: str, vpcs: tuple[str, ...] = ()) -> Scan:
    return leftovers.scan(run, caller.account, vpcs=vpcs, only=only, caller=caller)


def test_the_name_alone_gives_away_what_nobody_tagged(run: Run, caller: Caller) -> None:
    name = Seeds(caller, {}, "gpu-e2e").make("log group")
    (item,) = scan(run, caller, "log group").found
    assert (item.id, item.owned, item.reasons) == (name, False, (f"name {name}",))


def test_the_network_gives_away_what_has_neither_tag_nor_name(run: Run, caller: Caller) -> None:
    nobody, only = Seeds(caller, {}, "nobody"), ("VPC", "subnet")
    subnet = nobody.make("subnet")
    assert not scan(run, caller, *only).found
    known = scan(run, caller, *only, vpcs=(nobody.vpc,))
    nobody.ec2.create_tags(Resources=[nobody.vpc], Tags=[{"Key": "run", "Value": run.run_id}])
    for result in (known, scan(run, caller, *only)):
        (item,) = (item for item in result.found if item.id == subnet)
        assert item.reasons == (f"VPC {nobody.vpc}",) and not item.owned


def test_what_has_ended_is_no_leftover(run: Run, caller: Caller, own: Seeds) -> None:
    lingering = ("instance", "NAT gateway", "KMS key", "spot request")
    instance, gateway, key, request = map(own.make, lingering)
    assert {item.kind for item in scan(run, caller, *lingering).left} == set(lingering)
    own.ec2.terminate_instances(InstanceIds=[instance])
    own.ec2.delete_nat_gateway(NatGatewayId=gateway)
    own.ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=[request])
    own.client("kms").schedule_key_deletion(KeyId=key, PendingWindowInDays=7)
    assert scan(run, caller, *lingering).is_clean


def test_a_list_of_several_pages_is_read_to_its_end(run: Run, caller: Caller, own: Seeds) -> None:
    names = {own.make("role") for _ in range(3)}
    events = caller.client("iam", "us-east-1").meta.events
    one_a_page = "provide-client-params.iam.ListRoles"
    events.register(one_a_page, lambda params, **_: params | {"MaxItems": 1})
    assert {item.id for item in scan(run, caller, "role").found} == names


def test_tags_that_may_not_be_read_make_the_kind_not_scanned(
    run: Run, caller: Caller, aws: Emulated
) -> None:
    Seeds(caller, {}, "nobody").make("role")
    aws.faults.add(Fault(kind="denied", service="iam", operation="ListRoleTags"))
    (missing,) = scan(run, caller, "role").not_scanned
    assert "nobody" in missing.problem and "ListRoleTags" in missing.problem


def test_expired_credentials_are_one_sentence(run: Run, caller: Caller, aws: Emulated) -> None:
    aws.faults.add(Fault(kind="expired"))
    for known in (caller, None):
        with pytest.raises(Problem, match="credentials have expired"):
            leftovers.scan(run, aws.account, caller=known)


def test_what_goes_while_it_is_looked_at_is_no_leftover(
    run: Run, caller: Caller, own: Seeds, aws: Emulated
) -> None:
    own.make("EKS cluster")
    gone = Fault(
        kind="error", service="eks", operation="DescribeCluster",
        code="ResourceNotFoundException", status=404,
    )  # fmt: skip
    aws.faults.add(gone)
    assert scan(run, caller, "EKS cluster").is_clean


def test_what_is_meant_to_stay_is_kept(tmp_path: Path, caller: Caller) -> None:
    bucket = Seeds(caller, {}, "gpu-e2e").make("S3 bucket")
    Seeds(caller, {"project": "gpu-e2e", "keep": "bootstrap"}, "gpu-e2e").make("role")
    profile = Profile.load_named("quick", f"infrastructure.state_bucket={bucket}")
    result = scan(Run.create(profile, tmp_path), caller, "S3 bucket", "role")
    assert result.is_clean
    assert {item.kind: item.kept for item in result.found if item.kept} == {
        "S3 bucket": "Terraform's state, named in the profile",
        "role": "tag keep=bootstrap",
    }


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("gpu-e2e", True),
        ("gpu-e2e-gpu", True),
        ("gpu-e2e/triton", True),
        ("eks-gpu-e2e-system-1", True),
        ("eks-cluster-sg-gpu-e2e-12", True),
        ("/aws/containerinsights/gpu-e2e/performance", True),
        ("Amazon EKS gpu-e2e", True),
        ("gpu-e2example", False),
        ("my-gpu-e2e", False),
    ],
)
def test_names_count_from_their_beginning_and_whole_words(name: str, ours: bool) -> None:
    assert bool(Marks("r", "p", "gpu-e2e").reasons(name, {}, "")) is ours


@pytest.mark.parametrize(
    "tags",
    [{"elbv2.k8s.aws/cluster": "gpu-e2e"}, {"kubernetes.io/cluster/gpu-e2e": "owned"}],
)
def test_what_the_cluster_made_counts_as_ours_but_is_not_owned(tags: dict[str, str]) -> None:
    marks = Marks("r", "p", "gpu-e2e")
    assert marks.reasons("k8s-triton-1234", tags, "") and not marks.owns(tags)
    assert not Marks("r", "p", "else").reasons("k8s-triton-1234", tags, "")
