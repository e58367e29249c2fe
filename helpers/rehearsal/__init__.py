"""A rehearsal's AWS account and container registry, on this machine.

emulator: the run's AWS account; server: the HTTP server it runs behind
moto_extension: how operations are added to moto; world: what the account is like
eks_*, autoscaling, ec2, iam, s3, ssm, quotas, budgets: what is added to moto, by service
registry: the container registry
"""

__all__ = ["emulator", "registry"]
