output "database" {
  description = "Where the tenant's rows live; secret is where its login lies."
  value = {
    engine = "postgres"
    model  = var.isolation
    name   = "postgres"
    host   = local.endpoint.fqdn
    port   = local.endpoint.port
    secret = oci_vault_secret.database.id
  }
}

output "storage" {
  description = "Where the tenant's objects lie."
  value = {
    kind   = "oci"
    name   = oci_objectstorage_bucket.tenant.name
    prefix = ""
  }
}

output "key" {
  description = "The key that its bucket and its secrets are encrypted with."
  value       = oci_kms_key.tenant.id
}

output "identity" {
  description = "The group of machines that may use this tenant's resources and no other's."
  value       = oci_identity_dynamic_group.tenant.id
}

output "network" {
  description = "The network that the database stands in."
  value       = oci_core_vcn.tenant.id
}

output "labels" {
  description = "What all of it bears."
  value       = var.labels
}
