data "oci_objectstorage_namespace" "here" {
  compartment_id = var.shared.tenancy_id
}

resource "oci_objectstorage_bucket" "tenant" {
  compartment_id = oci_identity_compartment.tenant.id
  namespace      = data.oci_objectstorage_namespace.here.namespace
  name           = var.name
  access_type    = "NoPublicAccess"
  versioning     = "Enabled"
  kms_key_id     = oci_kms_key.tenant.id
  freeform_tags  = var.labels

  depends_on = [oci_identity_policy.storage]
}
