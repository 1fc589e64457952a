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
    condition     = var.isolation == "bridge"
    error_message = "isolation: this module makes bridge stacks."
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
