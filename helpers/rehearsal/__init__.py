"""A rehearsal's AWS account and container registry, on this machine.

The account: emulator starts server, world is what it contains at first. moto_extension adds the
operations of ec2, eks_clusters, eks_node_groups and small_services. Images go to registry.
"""

__all__ = ["emulator", "registry"]
