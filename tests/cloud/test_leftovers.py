"""How the leftover scan judges, and what it says when it cannot look."""

from pathlib import Path

import pytest

from helpers.cloud import leftovers
from helpers.cloud.leftovers import Leftover, Marks, Scan
from helpers.cloud.resource_kinds import Caller
from helpers.errors import Problem
from helpers.profile import Profile
from helpers.run import Run
from tests import emulated
from tests.emulated import Fault

from .seeds import Seeds, eks_cluster, role, subnet


def matching(seen: Scan, kind: str, identity: str) -> list[Leftover]:
    return [one for one in seen.found if (one.kind, one.id) == (kind, identity)]


def test_the_name_alone_gives_away_what_nobody_tagged(run: Run) -> None:
    with emulated.installed() as aws:
        caller = Caller.identify(aws.account)
        Seeds(caller, {}, "gpu-e2e").make("log group")
        found = leftovers.scan(run, aws.account, only=["log group"], caller=caller).found
    assert [(one.id, one.owned) for one in found] == [("/aws/eks/gpu-e2e-1/cluster", False)]
    assert found[0].reasons == ("name /aws/eks/gpu-e2e-1/cluster",)


def test_the_network_gives_away_what_has_neither_tag_nor_name(run: Run) -> None:
    with emulated.installed() as aws:
        caller = Caller.identify(aws.account)
        nobody = Seeds(caller, {}, "nobody")
        identity = subnet(nobody)
        only = ["VPC", "subnet"]
        before = leftovers.scan(run, aws.account, only=only, caller=caller)
        known = leftovers.scan(run, aws.account, vpcs=[nobody.vpc], only=only, caller=caller)
        tags = [{"Key": "run", "Value": run.run_id}]
        nobody.ec2.create_tags(Resources=[nobody.vpc], Tags=tags)
        learned = leftovers.scan(run, aws.account, only=only, caller=caller)
    assert not before.found
    for scan in (known, learned):
        (found,) = matching(scan, "subnet", identity)
        assert found.reasons == (f"VPC {nobody.vpc}",) and not found.owned


def test_what_has_ended_is_no_leftover(run: Run) -> None:
    kinds_that_linger = ["instance", "NAT gateway", "KMS key", "spot request"]
    with emulated.installed() as aws:
        caller = Caller.identify(aws.account)
        own = Seeds(caller, {"run": run.run_id}, "plain")
        ids = {kind: own.make(kind) for kind in kinds_that_linger}
        alive = leftovers.scan(run, aws.account, only=kinds_that_linger, caller=caller)
        own.ec2.terminate_instances(InstanceIds=[ids["instance"]])
        own.ec2.delete_nat_gateway(NatGatewayId=ids["NAT gateway"])
        own.ec2.cancel_spot_instance_requests(SpotInstanceRequestIds=[ids["spot request"]])
        own.client("kms").schedule_key_deletion(KeyId=ids["KMS key"], PendingWindowInDays=7)
        ended = leftovers.scan(run, aws.account, only=kinds_that_linger, caller=caller)
    assert {one.kind for one in alive.left} == set(kinds_that_linger)
    assert ended.is_clean


def test_a_list_of_several_pages_is_read_to_its_end(run: Run) -> None:
    with emulated.installed() as aws:
        caller = Caller.identify(aws.account)
        own = Seeds(caller, {"run": run.run_id}, "plain")
        ids = {role(own) for _ in range(3)}
        pages = caller.client("iam", "us-east-1").get_paginator("list_roles")
        assert len(list(pages.paginate(PaginationConfig={"PageSize": 1}))) > 1
        iam = caller.client("iam", "us-east-1")
        iam.meta.events.register(
            "provide-client-params.iam.ListRoles", lambda params, **_: params | {"MaxItems": 1}
        )
        found = leftovers.scan(run, aws.account, only=["role"], caller=caller).found
    assert {one.id for one in found} == ids


def test_tags_that_may_not_be_read_make_the_kind_not_scanned(run: Run) -> None:
    with emulated.installed() as aws:
        caller = Caller.identify(aws.account)
        role(Seeds(caller, {}, "nobody"))
        aws.faults.add(Fault(kind="denied", service="iam", operation="ListRoleTags"))
        seen = leftovers.scan(run, aws.account, only=["role"], caller=caller)
    (missing,) = seen.not_scanned
    assert "nobody" in missing.problem and "ListRoleTags" in missing.problem


def test_throttling_is_waited_out_and_given_up_in_the_end(run: Run) -> None:
    waited: list[float] = []
    with emulated.installed() as aws:
        caller = Caller.identify(aws.account, waited.append)
        Seeds(caller, {"run": run.run_id}, "plain").make("log group")
        aws.faults.add(Fault(kind="throttled", service="logs", times=10))
        seen = leftovers.scan(run, aws.account, only=["log group"], caller=caller)
        assert len(seen.left) == 1 and waited
        aws.faults.add(Fault(kind="throttled", service="logs"))
        stuck = leftovers.scan(run, aws.account, only=["log group"], caller=caller)
    assert "ThrottlingException" in stuck.not_scanned[0].problem


def test_expired_credentials_are_one_sentence(run: Run) -> None:
    with emulated.installed() as aws:
        caller = Caller.identify(aws.account)
        aws.faults.add(Fault(kind="expired"))
        with pytest.raises(Problem, match="credentials have expired"):
            leftovers.scan(run, aws.account, caller=caller)
        with pytest.raises(Problem, match="credentials have expired"):
            leftovers.scan(run, aws.account)


def test_what_goes_while_it_is_looked_at_is_no_leftover(run: Run) -> None:
    with emulated.installed() as aws:
        caller = Caller.identify(aws.account)
        eks_cluster(Seeds(caller, {"run": run.run_id}, "plain"))
        gone = Fault(
            kind="error", service="eks", operation="DescribeCluster",
            code="ResourceNotFoundException", status=404,
        )  # fmt: skip
        aws.faults.add(gone)
        seen = leftovers.scan(run, aws.account, only=["EKS cluster"], caller=caller)
    assert seen.is_clean


def test_what_is_meant_to_stay_is_told_apart(tmp_path: Path) -> None:
    bucket = "gpu-e2e-1-123456789012"
    profile = Profile.load_named("quick", f"infrastructure.state_bucket={bucket}")
    made = Run.create(profile, tmp_path)
    with emulated.installed() as aws:
        caller = Caller.identify(aws.account)
        Seeds(caller, {}, "gpu-e2e").make("S3 bucket")
        Seeds(caller, {"project": "gpu-e2e", "keep": "bootstrap"}, "gpu-e2e").make("role")
        seen = leftovers.scan(made, aws.account, only=["S3 bucket", "role"], caller=caller)
    assert seen.is_clean
    assert {one.kind: one.kept for one in seen.kept} == {
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
        ("/aws/eks/gpu-e2e/cluster", True),
        ("/aws/containerinsights/gpu-e2e/performance", True),
        ("Amazon EKS gpu-e2e", True),
        ("gpu-e2example", False),
        ("my-gpu-e2e", False),
        ("another", False),
    ],
)
def test_names_count_from_their_beginning_and_whole_words(name: str, ours: bool) -> None:
    assert bool(Marks("r", "p", "gpu-e2e").reasons(name, {}, "")) is ours


@pytest.mark.parametrize(
    "tags",
    [
        {"elbv2.k8s.aws/cluster": "gpu-e2e"},
        {"kubernetes.io/cluster/gpu-e2e": "owned"},
        {"aws:eks:cluster-name": "gpu-e2e"},
    ],
)
def test_what_the_cluster_made_counts_as_ours_but_is_not_owned(tags: dict[str, str]) -> None:
    marks = Marks("r", "p", "gpu-e2e")
    assert marks.reasons("k8s-triton-1234", tags, "") and not marks.owns(tags)
    assert not Marks("r", "p", "else").reasons("k8s-triton-1234", tags, "")
