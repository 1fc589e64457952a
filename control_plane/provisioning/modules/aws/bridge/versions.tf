terraform {
  required_version = ">= 1.11, < 2.0"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "= 5.100.0"
    }
  }
}

# An account's own settings come on top of these, from outside the module.
provider "aws" {
  region = var.region
}
