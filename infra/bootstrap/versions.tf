terraform {
  required_version = ">= 1.11, < 2.0" # 1.11: locks in S3 without a table of their own

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "= 5.100.0"
    }
  }
}
