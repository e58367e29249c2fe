"""The comparison of asked with granted actions sees what it is there to see.

The replay itself, of all that a life of the stack asks for, stands in `test_life.py`.
"""

from moto.core.utils import get_service_model

from tests.emulated import Line
from tests.emulated.recording import IAM_NAMES

from . import privilege

POLICY = {
    "Statement": [
        {"Effect": "Allow", "Action": ["ec2:Describe*", "s3:ListBucket"], "Resource": "*"},
        {"Effect": "Allow", "Action": "kms:ListKeys", "Resource": "*"},
        {"Effect": "Deny", "Action": "iam:*", "Resource": "*"},
    ]
}
GRANTS = privilege.granted([POLICY])


def calls(*asked: str) -> set[str]:
    parts = (action.split(":") for action in asked)
    return privilege.used(Line(service, action, "", "Boto3") for service, action in parts)


def test_a_service_granted_for_nothing_and_a_reason_without_grant_or_need_are_seen() -> None:
    needed = calls("ec2:DescribeVpcs", "s3:HeadBucket")
    assert privilege.idle(GRANTS, needed, []) == {"kms"}
    assert privilege.idle(GRANTS, needed, ["kms:ListKeys"]) == {"kms"}
    assert privilege.idle(GRANTS, needed, ["kms"]) == set()
    wrong = {"s3:ListBucket", "sqs", "ec2:RunInstances"}
    assert privilege.baseless(["kms", *wrong], GRANTS, needed) == wrong


def test_the_table_of_names_holds_operations_that_there_are() -> None:
    services = {iam: botocore for botocore, iam in IAM_NAMES.items()}
    for operation in privilege.names():
        service, _, name = operation.partition(":")
        assert name in get_service_model(services.get(service, service)).operation_names
