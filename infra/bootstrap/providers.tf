# Applied once, by an administrator of the account; what it makes outlives every run.
provider "aws" {
  region = var.region

  default_tags {
    tags = local.tags
  }
}
