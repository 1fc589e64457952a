# Who works for the tenant are the machines of its compartment. What they may do names this
# compartment alone; it does by names, so that whoever approves the plan can read it.
resource "oci_identity_dynamic_group" "tenant" {
  provider       = oci.home
  compartment_id = var.shared.tenancy_id
  name           = var.name
  description    = "Who works for ${var.tenant_id}."
  matching_rule  = "ALL {instance.compartment.id = '${oci_identity_compartment.tenant.id}'}"
  freeform_tags  = var.labels
}

resource "oci_identity_policy" "tenant" {
  provider       = oci.home
  compartment_id = oci_identity_compartment.tenant.id
  name           = var.name
  description    = "What works for ${var.tenant_id} may use its bucket and its secrets."
  freeform_tags  = var.labels

  statements = [
    "Allow dynamic-group ${oci_identity_dynamic_group.tenant.name} to read buckets in compartment ${oci_identity_compartment.tenant.name}",
    "Allow dynamic-group ${oci_identity_dynamic_group.tenant.name} to manage objects in compartment ${oci_identity_compartment.tenant.name}",
    "Allow dynamic-group ${oci_identity_dynamic_group.tenant.name} to read secret-bundles in compartment ${oci_identity_compartment.tenant.name}",
  ]
}

resource "oci_identity_policy" "storage" {
  provider       = oci.home
  compartment_id = oci_identity_compartment.tenant.id
  name           = "${var.name}-storage"
  description    = "The storage of ${var.tenant_id} uses its key."
  freeform_tags  = var.labels

  statements = [
    "Allow service objectstorage-${var.region} to use keys in compartment ${oci_identity_compartment.tenant.name}",
  ]
}
