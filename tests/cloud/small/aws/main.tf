# A small stack in AWS, with the variables and outputs of the real one. With three zones it has a
# network.

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

resource "aws_vpc" "this" {
  count = var.zones == 3 ? 1 : 0

  cidr_block = "10.0.0.0/16"
}

resource "aws_subnet" "this" {
  count = var.zones == 3 ? 1 : 0

  vpc_id     = aws_vpc.this[0].id
  cidr_block = "10.0.0.0/24"

  timeouts {
    delete = "1s" # otherwise the provider tries for 20 minutes to remove what is in use
  }
}
