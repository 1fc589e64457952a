# A tenant of its own compartment: network, vault, database, bucket and identity, shared with nobody.
#
# Nothing here is protected from deletion by Oracle: whether something with data may go is for an
# approval of the plan to say, and a plan that was approved must do what it says. Oracle keeps a
# deleted vault with its keys and secrets for some days; until it is gone, the compartment cannot go
# either. A bucket that still holds objects is not deleted.
locals {
  # By the tenant's size: the processors of the database's machine, and its memory in GB.
  sizes = {
    small  = { processors = 2, memory = 32 }
    medium = { processors = 4, memory = 64 }
    large  = { processors = 8, memory = 128 }
  }
  size = local.sizes[var.size]

  # Only a private vault turns its keys by itself; one of the default type costs little, and its keys
  # are turned by hand. Which one it is, the account says.
  turns_keys = var.shared.vault_type == "VIRTUAL_PRIVATE"
}

resource "oci_identity_compartment" "tenant" {
  provider       = oci.home
  compartment_id = var.shared.compartment_id
  name           = var.name
  description    = "All resources of ${var.tenant_id}."
  enable_delete  = true
  freeform_tags  = var.labels

  lifecycle {
    precondition {
      condition     = can(regex("^[a-z]{2}(-[a-z]+){1,2}-[0-9]$", var.region))
      error_message = "region: not the name of a region of Oracle Cloud."
    }
  }
}

resource "oci_kms_vault" "tenant" {
  compartment_id = oci_identity_compartment.tenant.id
  display_name   = var.name
  vault_type     = var.shared.vault_type
  freeform_tags  = var.labels
}

resource "oci_kms_key" "tenant" {
  compartment_id           = oci_identity_compartment.tenant.id
  display_name             = var.name
  management_endpoint      = oci_kms_vault.tenant.management_endpoint
  protection_mode          = "HSM"
  is_auto_rotation_enabled = local.turns_keys ? true : null
  freeform_tags            = var.labels

  key_shape {
    algorithm = "AES"
    length    = 32
  }

  dynamic "auto_key_rotation_details" {
    for_each = local.turns_keys ? [90] : []
    content {
      rotation_interval_in_days = auto_key_rotation_details.value
    }
  }
}
