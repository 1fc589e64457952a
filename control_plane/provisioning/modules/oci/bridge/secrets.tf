# The vault makes the password by itself, so that Terraform never has one: it is in no plan and no state.
resource "oci_vault_secret" "database" {
  compartment_id         = var.shared.compartment_id
  vault_id               = var.shared.vault_id
  key_id                 = var.shared.kms_key_id
  secret_name            = "${var.name}-database"
  description            = "The login to the database of ${var.tenant_id}."
  enable_auto_generation = true
  freeform_tags          = var.labels

  secret_generation_context {
    generation_type     = "PASSPHRASE"
    generation_template = "DBAAS_DEFAULT_PASSWORD"
    passphrase_length   = 30
  }
}
