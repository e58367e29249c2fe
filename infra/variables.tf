# The names are those of the profile's `infrastructure` section.

variable "region" {
  type        = string
  description = "AWS region of the stack."
  default     = "us-east-1"

  validation {
    condition     = can(regex("^[a-z]{2}(-[a-z]+)+-\\d$", var.region))
    error_message = "The region looks like us-east-1."
  }
}

variable "name" {
  type        = string
  description = "Prefix of all names; also the cluster's name."
  default     = "gpu-e2e"

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,18}$", var.name))
    error_message = "The name has 2 to 19 lower-case letters, digits and hyphens, and starts with a letter."
  }
}

variable "run_id" {
  type        = string
  description = "Id of the run that creates the stack; every resource has it as a tag, so that teardown finds it."

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", var.run_id))
    error_message = "The run id has 1 to 128 letters, digits, dots, hyphens and underscores."
  }
}

variable "tags" {
  type        = map(string)
  description = "Tags of every resource, in addition to the run's id."
  default = {
    project = "gpu-e2e"
    owner   = "Nancy"
  }

  validation {
    condition     = alltrue([for key in ["project", "owner"] : length(lookup(var.tags, key, "")) > 0])
    error_message = "The tags name at least project and owner."
  }
  validation {
    condition     = !contains(keys(var.tags), "run")
    error_message = "The tag run is the run's id; it cannot be set by hand."
  }
}

variable "kubernetes_version" {
  type        = string
  description = "Kubernetes version of the control plane; choose one in standard support."
  default     = "1.35"

  validation {
    condition     = can(regex("^1\\.\\d\\d$", var.kubernetes_version))
    error_message = "The Kubernetes version has a major and a minor part, such as 1.35."
  }
}

variable "vpc_cidr" {
  type        = string
  description = "Address range of the VPC; a /16 leaves a /20 for each private subnet."
  default     = "10.42.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.vpc_cidr)) && endswith(var.vpc_cidr, "/16")
    error_message = "The VPC's address range is an IPv4 /16."
  }
}

variable "service_cidr" {
  type        = string
  description = "Address range of Kubernetes services; explicit, because nodeadm needs it."
  default     = "172.20.0.0/16"

  validation {
    condition     = can(cidrnetmask(var.service_cidr))
    error_message = "The service range is an IPv4 range, such as 172.20.0.0/16."
  }
}

variable "zones" {
  type        = number
  description = "Availability zones of control plane and system nodes; EKS and the load balancer need two."
  default     = 2

  validation {
    condition     = contains([2, 3], var.zones)
    error_message = "There are 2 or 3 zones."
  }
}

variable "nat_per_zone" {
  type        = bool
  description = "One NAT gateway per zone instead of one for all zones."
  default     = false
}

variable "api_cidr" {
  type        = string
  description = "Address range with access to the cluster's public API endpoint: the caller's own address, as a /32."

  validation {
    condition     = can(cidrnetmask(var.api_cidr))
    error_message = "The API's range is an IPv4 range, such as 203.0.113.7/32."
  }
  validation {
    condition     = try(tonumber(split("/", var.api_cidr)[1]) >= 24, false)
    error_message = "The API is for your own address: a /32, and nothing wider than a /24."
  }
}

variable "admin_arns" {
  type        = list(string)
  description = "IAM roles and users that administer the cluster, in addition to its creator."
  default     = []

  validation {
    condition     = alltrue([for arn in var.admin_arns : can(regex("^arn:[a-z-]+:iam::\\d{12}:(role|user)/.+$", arn))])
    error_message = "Administrators are ARNs of IAM roles or users."
  }
}

variable "cpu_instance_types" {
  type        = list(string)
  description = "Instance types of the nodes for system pods, first choice first."
  default     = ["t3.large", "t3a.large"]

  validation {
    condition     = length(var.cpu_instance_types) > 0
    error_message = "At least one instance type is needed for the system nodes."
  }
}

variable "cpu_nodes" {
  type        = object({ min = number, desired = number, max = number })
  description = "Nodes for system pods. Two, so that draining one does not stop the webhooks."
  default     = { min = 1, desired = 2, max = 3 }

  validation {
    condition = (
      1 <= var.cpu_nodes.min && var.cpu_nodes.min <= var.cpu_nodes.desired &&
      var.cpu_nodes.desired <= var.cpu_nodes.max
    )
    error_message = "System nodes: 1 ≤ min ≤ desired ≤ max."
  }
}

variable "gpu" {
  type = object({
    max_price_usd = number
    min_nodes     = number
    desired_nodes = number
    max_nodes     = number
    disk_gib      = number
  })
  description = "The GPU nodes, in an Auto Scaling group with a price cap that AWS enforces."
  default = {
    max_price_usd = 0.30
    min_nodes     = 0
    desired_nodes = 1
    max_nodes     = 2
    disk_gib      = 100
  }

  validation {
    condition     = var.gpu.max_price_usd > 0 && var.gpu.max_price_usd <= 5
    error_message = "A GPU node's maximum price is above 0 and at most 5 US dollars an hour."
  }
  validation {
    condition = (
      0 <= var.gpu.min_nodes && var.gpu.min_nodes <= var.gpu.desired_nodes &&
      var.gpu.desired_nodes <= var.gpu.max_nodes && 1 <= var.gpu.max_nodes && var.gpu.max_nodes <= 4
    )
    error_message = "GPU nodes: 0 ≤ min ≤ desired ≤ max, and max is 1 to 4."
  }
  validation {
    condition     = var.gpu.disk_gib >= 80 && var.gpu.disk_gib <= 1000
    error_message = "A GPU node's root disk has 80 to 1000 GiB: Triton's image alone fills 20."
  }
}

variable "ttl_hours" {
  type        = number
  description = "Hours after which a schedule inside AWS scales the GPU nodes to zero, unless it is renewed."
  default     = 4

  validation {
    condition     = var.ttl_hours > 0 && var.ttl_hours <= 24
    error_message = "The dead man's switch fires after more than 0 and at most 24 hours."
  }
}

variable "certificate_file" {
  type        = string
  description = "PEM of the load balancer's certificate, made outside Terraform; empty means plain HTTP."
  default     = ""
}

variable "certificate_key_file" {
  type        = string
  description = "PEM of the certificate's private key. The state contains it, so keep the state private."
  default     = ""

  validation {
    condition     = (var.certificate_key_file == "") == (var.certificate_file == "")
    error_message = "A certificate needs its private key, and a key its certificate: give both files or neither."
  }
}

variable "budget_usd" {
  type        = number
  description = "Limit of the account-wide monthly budget and of the billing alarm, US dollars."
  default     = 5

  validation {
    condition     = var.budget_usd > 0
    error_message = "The budget is more than 0 US dollars."
  }
}

variable "alert_email" {
  type        = string
  description = "E-mail address for notifications of budget and alarm; empty for none."
  default     = ""

  validation {
    condition     = can(regex("^(|[^@\\s]+@[^@\\s]+)$", var.alert_email))
    error_message = "The alert address is an e-mail address, or empty."
  }
}
