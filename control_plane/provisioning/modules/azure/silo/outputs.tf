output "database" {
  description = "Where the tenant's rows live; secret is where its login lies."
  value = {
    engine = "postgres"
    model  = var.isolation
    name   = azurerm_postgresql_flexible_server_database.tenant.name
    host   = azurerm_postgresql_flexible_server.tenant.fqdn
    port   = 5432
    secret = azurerm_key_vault_secret.database.versionless_id
  }
}

output "storage" {
  description = "Where the tenant's objects lie; the prefix begins with the container."
  value = {
    kind   = "azure_blob"
    name   = azurerm_storage_account.tenant.name
    prefix = "${azurerm_storage_container.tenant.name}/"
  }
}

output "key" {
  description = "The key that all of it is encrypted with."
  value       = azurerm_key_vault_key.tenant.versionless_id
}

output "identity" {
  description = "The identity that may use this tenant's resources and no other's."
  value       = azurerm_user_assigned_identity.tenant.id
}

output "network" {
  description = "The network that the database stands in."
  value       = azurerm_virtual_network.tenant.id
}

output "labels" {
  description = "What all of it bears."
  value       = var.labels
}
