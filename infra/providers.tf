# The same code works with AWS and the emulator: endpoint and keys come from the environment.
provider "aws" {
  region = var.region

  default_tags {
    tags = local.tags
  }
}

# AWS publishes EstimatedCharges in us-east-1 only, so alarm and topic must be there too.
provider "aws" {
  alias  = "billing"
  region = "us-east-1"

  default_tags {
    tags = local.tags
  }
}
