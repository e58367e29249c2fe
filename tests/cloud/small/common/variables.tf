# The names are those of infra/variables.tf.

variable "region" {
  type    = any
  default = null
}

variable "name" {
  type    = any
  default = null
}

variable "run_id" {
  type    = any
  default = null
}

variable "tags" {
  type    = map(string)
  default = null
}

variable "kubernetes_version" {
  type    = any
  default = null
}

variable "vpc_cidr" {
  type    = any
  default = null
}

variable "service_cidr" {
  type    = any
  default = null
}

variable "zones" {
  type    = number
  default = null
}

variable "nat_per_zone" {
  type    = bool
  default = null
}

variable "api_cidr" {
  type    = any
  default = null
}

variable "admin_arns" {
  type    = any
  default = null
}

variable "cpu_instance_types" {
  type    = any
  default = null
}

variable "cpu_nodes" {
  type    = any
  default = null
}

variable "gpu" {
  type    = any
  default = null
}

variable "ttl_hours" {
  type    = number
  default = null
}

variable "certificate_file" {
  type    = any
  default = null
}

variable "certificate_key_file" {
  type    = any
  default = null
}

variable "budget_usd" {
  type    = number
  default = null
}

variable "alert_email" {
  type    = any
  default = null
}
