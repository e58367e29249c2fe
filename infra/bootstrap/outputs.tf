output "deployer_arn" {
  description = "The role to assume for stages 00 to 06."
  value       = aws_iam_role.deployer.arn
}

output "boundary_arn" {
  description = "The boundary that the stack gives its roles when the deployer makes them."
  value       = aws_iam_policy.boundary.arn
}

output "policies" {
  description = "The deployer's policies, name → JSON, for tests that replay a run against them."
  value       = { for name, document in local.policies : name => document.minified_json }
}
