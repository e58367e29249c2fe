# The names are those of infra/outputs.tf; most values are made up.

output "region" {
  value = var.region
}

output "name" {
  value = var.name
}

output "tags" {
  value = var.tags
}

output "vpc_id" {
  value = "made-up"
}

output "private_subnet_ids" {
  value = ["subnet-1", "subnet-2"]
}

output "public_subnet_ids" {
  value = ["subnet-3"]
}

output "api_cidr" {
  value = var.api_cidr
}

output "cluster_name" {
  value = "made-up"
}

output "cluster_endpoint" {
  value = "made-up"
}

output "cluster_certificate_authority" {
  value = "made-up"
}

output "cluster_version" {
  value = "made-up"
}

output "oidc_provider_arn" {
  value = "made-up"
}

output "gpu_asg_name" {
  value = "made-up"
}

output "gpu_instance_types" {
  value = ["g4dn.xlarge"]
}

output "gpu_max_price" {
  value = var.gpu.max_price_usd
}

output "role_arns" {
  value = { triton = "arn", alb_controller = "arn", cluster_autoscaler = "arn" }
}

output "ecr_repository_name" {
  value = local.made.repository
}

output "ecr_repository_url" {
  value = local.made.repository_url
}

output "artifact_bucket" {
  value = "made-up"
}

output "model_prefix" {
  value = "made-up"
}

output "certificate_arn" {
  value = local.made.certificate
}

output "dead_man_schedule" {
  value = "made-up"
}

output "dead_man_schedule_group" {
  value = "made-up"
}

output "dead_man_expires" {
  value = "2026-01-01T00:00:00Z"
}

output "alerts_topic_arn" {
  value = local.made.topic
}

output "image_project" {
  value = "made-up"
}
