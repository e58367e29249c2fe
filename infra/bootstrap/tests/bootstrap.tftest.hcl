# The deployer role: who may assume it, and whether its policies are within IAM's limits.

mock_provider "aws" {
  override_during = plan

  mock_data "aws_caller_identity" {
    defaults = {
      account_id = "123456789012"
    }
  }
  mock_data "aws_partition" {
    defaults = {
      partition = "aws"
    }
  }
  mock_data "aws_iam_policy_document" {
    defaults = {
      json          = "{\"Version\":\"2012-10-17\",\"Statement\":[]}"
      minified_json = "{\"Version\":\"2012-10-17\",\"Statement\":[]}"
    }
  }
  mock_resource "aws_iam_policy" {
    defaults = {
      arn = "arn:aws:iam::123456789012:policy/bootstrap/mock"
    }
  }
}

variables {
  trusted_arns = ["arn:aws:iam::123456789012:user/nancy"]
}

run "the_deployer_stands_outside_of_what_it_may_change" {
  command = plan

  assert {
    condition     = aws_iam_role.deployer.path == "/bootstrap/" && alltrue([for policy in aws_iam_policy.deployer : policy.path == "/bootstrap/"])
    error_message = "Role and policies must have the path /bootstrap/."
  }
  assert {
    condition     = one(one(data.aws_iam_policy_document.trust.statement).principals).identifiers == toset(["arn:aws:iam::123456789012:user/nancy"])
    error_message = "Only the trusted ARNs may assume the role."
  }
  assert {
    condition     = local.tags["keep"] == "bootstrap" && !contains(keys(local.tags), "run")
    error_message = "The role must have the tag `keep` and no tag `run`, so that the leftover scan does not report it."
  }
  assert {
    condition     = length(aws_iam_policy.deployer) <= 10 && length(aws_iam_role_policy_attachment.deployer) == length(aws_iam_policy.deployer)
    error_message = "IAM allows at most ten managed policies per role."
  }
}

run "state_in_a_bucket_adds_that_bucket_only" {
  command = plan

  variables {
    state_bucket = "state-of-nancy"
  }

  assert {
    condition = toset(flatten([
      for statement in data.aws_iam_policy_document.artifacts.statement : statement.resources if startswith(statement.sid, "State")
    ])) == toset(["arn:aws:s3:::state-of-nancy", "arn:aws:s3:::state-of-nancy/gpu-e2e/*"])
    error_message = "The policy must allow the state bucket and the stack's prefix in it."
  }
}
