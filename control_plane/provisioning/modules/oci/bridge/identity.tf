# Who works for the tenant are the machines of the shared compartment that bear its tag. It is a tag
# of a namespace, which only who may use the namespace can set; a free tag anybody could. The policy
# says names where it can, so that whoever approves the plan can read it.
resource "oci_identity_dynamic_group" "tenant" {
  provider       = oci.home
  compartment_id = var.shared.tenancy_id
  name           = var.name
  description    = "Who works for ${var.tenant_id}."
  matching_rule  = "ALL {instance.compartment.id = '${var.shared.compartment_id}', tag.${var.shared.tag_namespace}.tenant.value = '${var.name}'}"
  freeform_tags  = var.labels
}

resource "oci_identity_policy" "tenant" {
  provider       = oci.home
  compartment_id = var.shared.compartment_id
  name           = var.name
  description    = "What works for ${var.tenant_id} may use its bucket and its secret."
  freeform_tags  = var.labels

  statements = [
    "Allow dynamic-group ${oci_identity_dynamic_group.tenant.name} to read buckets in compartment id ${var.shared.compartment_id} where target.bucket.name = '${oci_objectstorage_bucket.tenant.name}'",
    "Allow dynamic-group ${oci_identity_dynamic_group.tenant.name} to manage objects in compartment id ${var.shared.compartment_id} where target.bucket.name = '${oci_objectstorage_bucket.tenant.name}'",
    "Allow dynamic-group ${oci_identity_dynamic_group.tenant.name} to read secret-bundles in compartment id ${var.shared.compartment_id} where target.secret.name = '${oci_vault_secret.database.secret_name}'",
  ]
}
