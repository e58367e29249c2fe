output "region" {
  description = "AWS region of the stack."
  value       = var.region
}

output "name" {
  description = "Prefix of everything that was created."
  value       = var.name
}

output "tags" {
  description = "Tags of every resource."
  value       = local.tags
}

output "vpc_id" {
  description = "The VPC."
  value       = aws_vpc.this.id
}

output "private_subnet_ids" {
  description = "Subnets of the nodes, one per zone."
  value       = [for subnet in aws_subnet.private : subnet.id]
}

output "public_subnet_ids" {
  description = "Subnets of load balancer and NAT, one per zone."
  value       = [for subnet in aws_subnet.public : subnet.id]
}

output "api_cidr" {
  description = "Address range with access to the cluster's public API endpoint."
  value       = one(aws_eks_cluster.this.vpc_config[0].public_access_cidrs)
}

output "cluster_name" {
  description = "The EKS cluster."
  value       = aws_eks_cluster.this.name
}

output "cluster_endpoint" {
  description = "URL of the cluster's API."
  value       = aws_eks_cluster.this.endpoint
}

output "cluster_certificate_authority" {
  description = "Certificate authority of the cluster's API, PEM in base64."
  value       = aws_eks_cluster.this.certificate_authority[0].data
}

output "cluster_version" {
  description = "Kubernetes version of the control plane."
  value       = aws_eks_cluster.this.version
}

output "oidc_provider_arn" {
  description = "OIDC provider that authenticates service accounts (IRSA)."
  value       = aws_iam_openid_connect_provider.this.arn
}

output "gpu_asg_name" {
  description = "Auto Scaling group of the GPU nodes."
  value       = aws_autoscaling_group.gpu.name
}

output "gpu_instance_types" {
  description = "Instance types of the GPU nodes, first choice first."
  value       = local.contract.gpu.instanceTypes
}

output "gpu_max_price" {
  description = "Highest price of one GPU node per hour, US dollars."
  value       = var.gpu.max_price_usd
}

output "role_arns" {
  description = "Roles of service accounts."
  value       = { for name, role in aws_iam_role.service_account : name => role.arn }
}

output "ecr_repository_name" {
  description = "Repository of Triton's image."
  value       = aws_ecr_repository.triton.name
}

output "ecr_repository_url" {
  description = "URL of the repository for Triton's image."
  value       = aws_ecr_repository.triton.repository_url
}

output "image_project" {
  description = "CodeBuild project that builds images and pushes them to the repository."
  value       = aws_codebuild_project.images.name
}

output "artifact_bucket" {
  description = "Bucket of model files."
  value       = aws_s3_bucket.artifacts.bucket
}

output "model_prefix" {
  description = "Prefix in the bucket that Triton may read."
  value       = local.contract.models.prefix
}

output "certificate_arn" {
  description = "The load balancer's certificate; empty without one."
  value       = join("", aws_acm_certificate.this[*].arn)
}

output "dead_man_schedule" {
  description = "Name of the schedule that scales the GPU nodes to zero."
  value       = aws_scheduler_schedule.dead_man.name
}

output "dead_man_schedule_group" {
  description = "Group of that schedule."
  value       = aws_scheduler_schedule_group.this.name
}

output "dead_man_expires" {
  description = "When it fires, UTC, unless it has been renewed since."
  value       = "${trimsuffix(trimprefix(aws_scheduler_schedule.dead_man.schedule_expression, "at("), ")")}Z"
}

output "alerts_topic_arn" {
  description = "Topic of budget and billing alarm, in us-east-1."
  value       = aws_sns_topic.alerts.arn
}
