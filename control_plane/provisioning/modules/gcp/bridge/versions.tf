terraform {
  required_version = ">= 1.11, < 2.0"
  required_providers {
    google = {
      source  = "hashicorp/google"
      version = "= 6.50.0"
    }
  }
}

# An account's own settings come on top of these, from outside the module.
provider "google" {
  region                          = var.region
  add_terraform_attribution_label = false
}
