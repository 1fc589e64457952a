# The vault makes the password by itself, so that Terraform never has one: it is in no plan and no state.
resource "oci_vault_secret" "database" {
  compartment_id         = oci_identity_compartment.tenant.id
  vault_id               = oci_kms_vault.tenant.id
  key_id                 = oci_kms_key.tenant.id
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
