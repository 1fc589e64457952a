# Of its own the tenant has a bucket, a secret and an identity; a database of its own stands on the
# shared instance, and making it is SQL, which is not Terraform's. Network, vault and key are shared:
# the shared compartment's policies let the storage use the shared key already.
locals {
  # No PostgreSQL name takes a dash, and no tenant's name has an underscore: still one name a tenant.
  database_name = replace(var.name, "-", "_")
}

data "oci_objectstorage_namespace" "here" {
  compartment_id = var.shared.tenancy_id
}

# A bucket that still holds objects is not deleted.
resource "oci_objectstorage_bucket" "tenant" {
  compartment_id = var.shared.compartment_id
  namespace      = data.oci_objectstorage_namespace.here.namespace
  name           = var.name
  access_type    = "NoPublicAccess"
  versioning     = "Enabled"
  kms_key_id     = var.shared.kms_key_id
  freeform_tags  = var.labels

  lifecycle {
    precondition {
      condition     = can(regex("^[a-z]{2}(-[a-z]+){1,2}-[0-9]$", var.region))
      error_message = "region: not the name of a region of Oracle Cloud."
    }
  }
}
