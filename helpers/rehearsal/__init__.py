"""A rehearsal's AWS account and container registry, on this machine.

emulator: the run's AWS account; server: the HTTP server it runs behind
moto_extension: how operations are added to moto; world: what the account is like
eks_clusters, eks_node_groups, ec2, small_services: what is added to moto
registry: the container registry
"""

__all__ = ["emulator", "registry"]
