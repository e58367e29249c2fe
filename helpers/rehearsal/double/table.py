"""Which operations the double answers itself."""

from collections.abc import Mapping

from helpers.rehearsal.double import (
    autoscaling,
    budgets,
    ce,
    ec2,
    ecr,
    eks,
    eks_access,
    eks_nodes,
    eks_versions,
    iam,
    s3,
    servicequotas,
    ssm,
    sts,
)
from helpers.rehearsal.double.call import Operation, Operations

TABLE: Mapping[str, Operations] = {
    "autoscaling": autoscaling.OPERATIONS,
    "budgets": budgets.OPERATIONS,
    "ce": ce.OPERATIONS,
    "ec2": ec2.OPERATIONS,
    "ecr": ecr.OPERATIONS,
    "eks": {
        **eks.OPERATIONS,
        **eks_access.OPERATIONS,
        **eks_nodes.OPERATIONS,
        **eks_versions.OPERATIONS,
    },
    "iam": iam.OPERATIONS,
    "s3": s3.OPERATIONS,
    "service-quotas": servicequotas.OPERATIONS,
    "ssm": ssm.OPERATIONS,
    "sts": sts.OPERATIONS,
}


def find(service: str, operation: str) -> Operation | None:
    """The double's own answer to an operation; None where it has none."""
    return TABLE.get(service, {}).get(operation)
