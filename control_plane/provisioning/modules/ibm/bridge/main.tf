# Of its own the tenant has a bucket, a group of secrets and an identity; a database of its own stands
# on the shared instance, and making it is SQL, which is not Terraform's. Network and key are shared:
# the shared storage may use the shared key already.
locals {
  # What labels are here: texts of a name and a value.
  tags = [for name, value in var.labels : "${name}:${value}"]
  # No PostgreSQL name takes a dash, and no tenant's name has an underscore: still one name a tenant.
  database_name = replace(var.name, "-", "_")
  # A CRN has ten parts; the eighth is the id of the instance.
  objects_id = element(split(":", var.shared.cos_instance_id), 7)
}

# Without a policy that says so, nobody reads a bucket; none here does but the tenant's own.
resource "ibm_cos_bucket" "tenant" {
  bucket_name          = var.name
  resource_instance_id = var.shared.cos_instance_id
  region_location      = var.region
  storage_class        = "smart"
  kms_key_crn          = var.shared.kms_key_crn
  force_delete         = true

  object_versioning {
    enable = true
  }

  lifecycle {
    precondition {
      condition     = can(regex("^[a-z]{2}-[a-z]{2,5}$", var.region))
      error_message = "region: not the name of a region of IBM Cloud."
    }
  }
}
