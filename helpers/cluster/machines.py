"""EC2 instance types as nodes: what a kubelet on EKS's AL2023 image leaves to pods.

Reservations: nodeadm (awslabs/amazon-eks-ami, nodeadm/internal/kubelet/config.go): CPU 6 % of the
first core, 1 % of the second, 0.5 % of the next two, 0.25 % of the rest; memory 255 MiB and 11 MiB
a pod; 1 GiB of disk. Evictions begin at 100 MiB of memory and 10 % of disk. Pods: three per cent
aside, the addresses of the network interfaces (ENIs × (addresses − 1) + 2).
"""

from dataclasses import dataclass
from fractions import Fraction

from helpers.errors import Problem

MIB, GIB = 2**20, 2**30
# hypervisor and firmware keep some; Karpenter assumes the same (VM_MEMORY_OVERHEAD_PERCENT)
VM_OVERHEAD = Fraction(75, 1000)
EVICTION_MEMORY, RESERVED_DISK = 100 * MIB, GIB
EVICTION_DISK = Fraction(1, 10)


@dataclass(frozen=True)
class Machine:
    """An instance type.

    Attributes:
        cpus: Virtual CPUs.
        memory_mib: Memory.
        gpus: NVIDIA GPUs.
        interfaces: Network interfaces.
        addresses: IPv4 addresses of each.
    """

    cpus: int
    memory_mib: int
    gpus: int
    interfaces: int
    addresses: int

    @property
    def pods(self) -> int:
        """Most pods, each with an address of its own, beside two on the host's network."""
        return self.interfaces * (self.addresses - 1) + 2

    def allocatable(self, disk_gib: int, gpu_resource: str) -> dict[str, Fraction]:
        """What pods may have of a node of this type."""
        memory = self.memory_mib * MIB * (1 - VM_OVERHEAD)
        reserved = (255 + 11 * self.pods) * MIB + EVICTION_MEMORY
        disk = disk_gib * GIB * (1 - EVICTION_DISK) - RESERVED_DISK
        found = {
            "cpu": self.cpus - Fraction(_reserved_millicores(self.cpus), 1000),
            "memory": memory - reserved,
            "ephemeral-storage": disk,
            "pods": Fraction(self.pods),
        }
        return found | ({gpu_resource: Fraction(self.gpus)} if self.gpus else {})


def _reserved_millicores(cpus: int) -> int:
    shares = [60, 10, 5, 5] + [Fraction(5, 2)] * max(cpus - 4, 0)
    return int(sum(shares[:cpus], Fraction(0)))


# describe-instance-types; a test compares every line with another copy of AWS's answer
MACHINES = {
    "g4dn.xlarge": Machine(4, 16_384, 1, 3, 10),
    "g4dn.2xlarge": Machine(8, 32_768, 1, 3, 10),
    "g4dn.4xlarge": Machine(16, 65_536, 1, 3, 10),
    "g5.xlarge": Machine(4, 16_384, 1, 4, 15),
    "g5.2xlarge": Machine(8, 32_768, 1, 4, 15),
    "g6.xlarge": Machine(4, 16_384, 1, 4, 15),
    "g6.2xlarge": Machine(8, 32_768, 1, 4, 15),
    "t3.medium": Machine(2, 4096, 0, 3, 6),
    "t3.large": Machine(2, 8192, 0, 3, 12),
    "t3.xlarge": Machine(4, 16_384, 0, 4, 15),
    "t3a.medium": Machine(2, 4096, 0, 3, 6),
    "t3a.large": Machine(2, 8192, 0, 3, 12),
    "t3a.xlarge": Machine(4, 16_384, 0, 4, 15),
    "m5.large": Machine(2, 8192, 0, 3, 10),
    "m5.xlarge": Machine(4, 16_384, 0, 4, 15),
    "m6i.large": Machine(2, 8192, 0, 3, 10),
}


def machine(name: str) -> Machine:
    """An instance type by its name.

    Raises:
        Problem: The table has no such type.
    """
    if name not in MACHINES:
        raise Problem(
            f"What a node of type {name} leaves to pods is not known.",
            f"Add it to helpers/cluster/machines.py, or use one of {', '.join(sorted(MACHINES))}.",
        )
    return MACHINES[name]
