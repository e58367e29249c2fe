# Keeps the state in S3. Copy it next to versions.tf; bucket and key are given at init:
#   cp backends/s3.tf backend_override.tf
#   terraform init -backend-config=backends/s3.tfbackend
terraform {
  backend "s3" {}
}
