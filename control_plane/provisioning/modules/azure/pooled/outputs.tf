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
  description = "Where the tenant's objects lie; none of another's begins like this after the container."
  value = {
    kind   = "azure_blob"
    name   = basename(var.shared.storage_account_id)
    prefix = "${var.shared.container}/${local.prefix}"
  }
}

output "key" {
  description = "The key that all of it is encrypted with, which is not the tenant's own."
  value       = var.shared.key_id
}

output "identity" {
  description = "The identity that may use the tenant's part and no other."
  value       = azurerm_user_assigned_identity.tenant.id
}

output "network" {
  description = "The network that the shared database stands in."
  value       = var.shared.network_id
}

output "labels" {
  description = "What all of it bears."
  value       = var.labels
}
