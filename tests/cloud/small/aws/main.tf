# A small stack in AWS, with the variables and outputs of the real one.

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "= 5.100.0"
    }
  }
}

provider "aws" {
  region = var.region

  default_tags {
    tags = merge(var.tags, { run = var.run_id })
  }
}

resource "aws_sns_topic" "alerts" {
  name = "${var.name}-alerts"
}

resource "aws_acm_certificate" "this" {
  certificate_body = file(var.certificate_file)
  private_key      = file(var.certificate_key_file)
}

locals {
  made = {
    repository     = "made-up"
    repository_url = "made-up"
    topic          = aws_sns_topic.alerts.arn
    certificate    = aws_acm_certificate.this.arn
  }
}
