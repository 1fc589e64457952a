output "database" {
  description = "Where the tenant's rows live, among those of others: it has no login of its own."
  value = {
    engine = "postgres"
    model  = var.isolation
    name   = var.shared.database_name
    host   = var.shared.database_host
    port   = tonumber(var.shared.database_port)
    secret = null
  }
}

output "storage" {
  description = "Where the tenant's objects lie."
  value = {
    kind   = "oci"
    name   = var.shared.bucket
    prefix = local.prefix
  }
}

output "key" {
  description = "The key that its objects are encrypted with."
  value       = var.shared.kms_key_id
}

output "identity" {
  description = "The group of machines that may use this tenant's objects and no other's."
  value       = oci_identity_dynamic_group.tenant.id
}

output "network" {
  description = "The network that the database stands in."
  value       = var.shared.network_id
}

output "labels" {
  description = "What all of it bears."
  value       = var.labels
}
