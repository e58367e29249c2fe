"""Terraform for one run: its own copy of the code, its own state, progress and plain errors."""

from helpers.cloud.terraform.workspace import Workspace

__all__ = ["Workspace"]
