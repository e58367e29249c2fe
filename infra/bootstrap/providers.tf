# Applied once by an administrator of the account; its resources outlive every run.
provider "aws" {
  region = var.region

  default_tags {
    tags = local.tags
  }
}
