output "database" {
  description = "Where the tenant's rows live; secret is where its login lies."
  value = {
    engine = "postgres"
    model  = var.isolation
    name   = local.database_name
    host   = var.shared.database_host
    port   = tonumber(var.shared.database_port)
    secret = azurerm_key_vault_secret.database.versionless_id
  }
}

output "storage" {
  description = "Where the tenant's objects lie; the prefix begins with the container."
  value = {
    kind   = "azure_blob"
    name   = basename(var.shared.storage_account_id)
    prefix = "${azurerm_storage_container.tenant.name}/"
  }
}

output "key" {
  description = "The key that all of it is encrypted with, which is not the tenant's own."
  value       = var.shared.key_id
}

output "identity" {
  description = "The identity that may use this tenant's resources and no other's."
  value       = azurerm_user_assigned_identity.tenant.id
}

output "network" {
  description = "The network that the shared server stands in."
  value       = var.shared.network_id
}

output "labels" {
  description = "What all of it bears."
  value       = var.labels
}
