terraform {
  required_version = ">= 1.11, < 2.0"
  required_providers {
    ibm = {
      source  = "ibm-cloud/ibm"
      version = "= 2.5.0"
    }
  }
}

# An account's own settings come on top of these, from outside the module.
provider "ibm" {
  region = var.region
}
