terraform {
  required_version = ">= 1.11, < 2.0" # 1.11: state locks in S3 without a DynamoDB table

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "= 5.100.0"
    }
  }
}
