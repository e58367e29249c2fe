"""What every check of the preflight is given."""

from dataclasses import dataclass

from helpers.cloud.account import Account, asking
from helpers.profile import InfrastructureSettings
from helpers.run import Run

# As infra/network.tf chooses: EKS places no control plane in these.
NO_CONTROL_PLANE = ("use1-az3", "usw1-az2", "cac1-az3")


@dataclass(frozen=True)
class Question:
    """What is asked about.

    Attributes:
        run: The run that wants a stack.
        account: Where the stack is to stand.
        gpu_types: Instance types of the GPU nodes, first choice first.
    """

    run: Run
    account: Account
    gpu_types: tuple[str, ...]

    @property
    def chosen(self) -> InfrastructureSettings:
        """The profile's choices about infrastructure."""
        return self.run.profile.infrastructure

    @property
    def region(self) -> str:
        """The stack's region."""
        return self.account.region

    def zones(self) -> list[str]:
        """The availability zones that the stack takes.

        Raises:
            Problem: AWS does not answer.
        """
        with asking("the availability zones"):
            found = self.account.client("ec2").describe_availability_zones(
                Filters=[
                    {"Name": "state", "Values": ["available"]},
                    {"Name": "opt-in-status", "Values": ["opt-in-not-required"]},
                ]
            )["AvailabilityZones"]
        names = sorted(one["ZoneName"] for one in found if one["ZoneId"] not in NO_CONTROL_PLANE)
        return names[: self.chosen.zones]
