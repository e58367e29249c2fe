"""A rehearsal's AWS account and container registry, on this machine.

The account: emulator, behind server; its contents: world. moto_extension adds the operations of
eks_clusters, eks_node_groups, ec2 and small_services to moto.
"""

__all__ = ["emulator", "registry"]
