variable "region" {
  type        = string
  description = "AWS region in which the deployer works (billing alarm and topic are in us-east-1)."
  default     = "us-east-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-\\d$", var.region))
    error_message = "The region looks like us-east-1."
  }
}

variable "name" {
  type        = string
  description = "Prefix of everything that the deployer may create: the profile's infrastructure.name."
  default     = "gpu-e2e"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}$", var.name))
    error_message = "The name has 2 to 19 lower-case letters, digits and hyphens, and starts with a letter."
  }
}

variable "project" {
  type        = string
  description = "Value of the deployer's resources' tag project: the profile's tags.project."
  default     = "gpu-e2e"

  validation {
    condition     = can(regex("^[\\w.-]+$", var.project))
    error_message = "The project has letters, digits, dots, hyphens and underscores; a wildcard would open the account."
  }
}

variable "trusted_arns" {
  type        = list(string)
  description = "IAM roles and users that may assume the deployer role."

  validation {
    condition = length(var.trusted_arns) > 0 && alltrue([
      for arn in var.trusted_arns : can(regex("^arn:[a-z-]+:iam::\\d{12}:(role|user)/[\\w+=,.@/-]+$", arn))
    ])
    error_message = "Name at least one role or user by its ARN; accounts as a whole and wildcards are refused."
  }
}

variable "instance_types" {
  type        = list(string)
  description = "Instance types that may be launched; wildcards within a family."
  default     = ["g4dn.*", "g5.*", "g6.*", "m5.*", "m6i.*", "t3.*", "t3a.*"]

  validation {
    condition     = length(var.instance_types) > 0 && alltrue([for type in var.instance_types : can(regex("^[a-z0-9-]+\\.[a-z0-9*-]+$", type))])
    error_message = "Each instance type names its family, such as g4dn.xlarge or g4dn.*."
  }
}

variable "state_bucket" {
  type        = string
  description = "Bucket of Terraform's state: the profile's infrastructure.state_bucket; empty if it is local."
  default     = ""
}

variable "session_hours" {
  type        = number
  description = "Longest session of the deployer role, hours."
  default     = 4

  validation {
    condition     = var.session_hours >= 1 && var.session_hours <= 12
    error_message = "A session lasts 1 to 12 hours."
  }
}
