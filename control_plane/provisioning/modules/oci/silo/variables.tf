variable "tenant_id" {
  type        = string
  description = "The tenant that the stack belongs to."
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{1,38}[a-z0-9]$", var.tenant_id))
    error_message = "tenant_id: 3 to 40 lower-case letters, digits and dashes."
  }
}

variable "plan" {
  type        = string
  description = "The plan that the tenant is on."
  validation {
    condition     = can(regex("^[a-z][a-z0-9_-]{0,39}$", var.plan))
    error_message = "plan: at most 40 lower-case letters, digits, dashes and underscores."
  }
}

variable "isolation" {
  type        = string
  description = "The isolation model; this module makes only one."
  validation {
    condition     = var.isolation == "silo"
    error_message = "isolation: this module makes silo stacks."
  }
}

variable "region" {
  type        = string
  description = "Where the tenant's data lies."
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{0,39}$", var.region))
    error_message = "region: at most 40 lower-case letters, digits and dashes."
  }
}

variable "size" {
  type        = string
  description = "How much the tenant's own resources hold and bear."
  validation {
    condition     = contains(["small", "medium", "large"], var.size)
    error_message = "size: small, medium or large."
  }
}

variable "name" {
  type        = string
  description = "What the names of all resources begin with."
  validation {
    condition     = can(regex("^pb-[0-9a-f]{8}-[a-z][a-z0-9-]{1,38}[a-z0-9]$", var.name))
    error_message = "name: pb-, the workspace's 8 hexadecimal digits, a dash and the tenant."
  }
}

variable "labels" {
  type        = map(string)
  description = "What every resource that takes labels bears."
  validation {
    condition     = alltrue([for one in concat(keys(var.labels), values(var.labels)) : can(regex("^[a-z][a-z0-9_-]{0,62}$", one)) || can(regex("^[0-9a-f]{8}$", one))])
    error_message = "labels: at most 63 lower-case letters, digits, dashes and underscores."
  }
}

variable "shared" {
  type        = map(string)
  default     = {}
  description = "What stands here for all tenants, by the names that the rule below asks for."
  validation {
    condition     = alltrue([for one in ["compartment_id", "home_region", "tenancy_id", "vault_type"] : lookup(var.shared, one, "") != ""])
    error_message = "shared: compartment_id, home_region, tenancy_id and vault_type must be named."
  }
}
