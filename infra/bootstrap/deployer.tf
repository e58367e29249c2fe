# The role that runs every stage, and the boundary of the roles that it creates.

data "aws_caller_identity" "current" {}
data "aws_partition" "current" {}

locals {
  # The leftover scan ignores resources with the tag `keep`: they outlive a run.
  tags      = { project = var.project, keep = "bootstrap" }
  account   = data.aws_caller_identity.current.account_id
  partition = data.aws_partition.current.partition

  # Outside the names that the deployer may change; otherwise it could extend its own rights.
  path = "/bootstrap/"

  # Resources in the deployer's region and account; IAM and billing resources have other ARNs.
  ec2 = "arn:${local.partition}:ec2:${var.region}:${local.account}"
  iam = "arn:${local.partition}:iam::${local.account}"

  policies = {
    look       = data.aws_iam_policy_document.look
    network    = data.aws_iam_policy_document.network
    compute    = data.aws_iam_policy_document.compute
    identity   = data.aws_iam_policy_document.identity
    artifacts  = data.aws_iam_policy_document.artifacts
    guardrails = data.aws_iam_policy_document.guardrails
  }
}

data "aws_iam_policy_document" "trust" {
  statement {
    actions = ["sts:AssumeRole"]

    principals {
      type        = "AWS"
      identifiers = var.trusted_arns
    }
  }
}

resource "aws_iam_role" "deployer" {
  name                 = "${var.name}-deployer"
  path                 = local.path
  description          = "Plans, applies, watches and destroys the ${var.name} stack."
  assume_role_policy   = data.aws_iam_policy_document.trust.json
  max_session_duration = var.session_hours * 3600
}

resource "aws_iam_policy" "deployer" {
  for_each = local.policies

  name        = "${var.name}-deployer-${each.key}"
  path        = local.path
  description = "What the ${var.name} deployer may do: ${each.key}."
  policy      = each.value.minified_json

  lifecycle {
    precondition {
      condition     = length(each.value.minified_json) <= 6144
      error_message = "IAM refuses managed policies of more than 6,144 characters: split ${each.key}."
    }
  }
}

resource "aws_iam_role_policy_attachment" "deployer" {
  for_each = aws_iam_policy.deployer

  role       = aws_iam_role.deployer.name
  policy_arn = each.value.arn
}

resource "aws_iam_policy" "boundary" {
  name        = "${var.name}-boundary"
  path        = local.path
  description = "The most that any role of the ${var.name} stack may ever do."
  policy      = data.aws_iam_policy_document.boundary.minified_json

  lifecycle {
    precondition {
      condition     = length(data.aws_iam_policy_document.boundary.minified_json) <= 6144
      error_message = "IAM refuses managed policies of more than 6,144 characters: shorten the boundary."
    }
  }
}
