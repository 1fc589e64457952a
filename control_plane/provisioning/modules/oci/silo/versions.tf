terraform {
  required_version = ">= 1.11, < 2.0"
  required_providers {
    oci = {
      source  = "oracle/oci"
      version = "= 7.19.0"
    }
  }
}

# An account's own settings come on top of these, from outside the module.
provider "oci" {
  region = var.region
}

# Compartments, dynamic groups and policies are written in the tenancy's home region alone.
provider "oci" {
  alias  = "home"
  region = var.shared.home_region
}
