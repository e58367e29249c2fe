"""The Terraform code and what its plan makes."""
