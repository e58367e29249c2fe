# The same code meets AWS and the emulator: endpoint and keys come from the environment.
provider "aws" {
  region = var.region

  default_tags {
    tags = local.tags
  }
}

# AWS publishes EstimatedCharges in us-east-1 only; alarm and topic have to stand beside it.
provider "aws" {
  alias  = "billing"
  region = "us-east-1"

  default_tags {
    tags = local.tags
  }
}
