# Copied beside versions.tf, this keeps the state in S3; its place is given at init:
#   cp backends/s3.tf backend_override.tf
#   terraform init -backend-config=backends/s3.tfbackend
terraform {
  backend "s3" {}
}
