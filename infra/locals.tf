data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  # Taint, label, names and ports come from one file; Terraform does not repeat them.
  contract = yamldecode(file("${path.module}/../k8s/contract.yaml"))

  tags       = merge(var.tags, { run = var.run_id })
  account_id = data.aws_caller_identity.current.account_id
  partition  = data.aws_partition.current.partition

  # The deployer (bootstrap/) may only create roles with its boundary; an administrator needs none.
  is_deployer = strcontains(data.aws_caller_identity.current.arn, ":assumed-role/${var.name}-deployer/")
  boundary    = local.is_deployer ? "arn:${local.partition}:iam::${local.account_id}:policy/bootstrap/${var.name}-boundary" : null

  # Known before the groups exist, so that policies and the dead man's switch can name them.
  gpu_group_name    = "${var.name}-gpu"
  system_group_name = "${var.name}-system"

  # Default tags do not apply to what an Auto Scaling group or a launch template creates.
  node_tags = {
    for group in [local.gpu_group_name, local.system_group_name] : group => merge(local.tags, {
      Name                                = group
      "kubernetes.io/cluster/${var.name}" = "owned"
    })
  }
}
