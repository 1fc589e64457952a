# Who works for the tenant takes this identity. Each of its roles holds for one thing of the tenant's.
resource "azurerm_user_assigned_identity" "tenant" {
  name                = var.name
  resource_group_name = azurerm_resource_group.tenant.name
  location            = azurerm_resource_group.tenant.location
  tags                = var.labels
}

resource "azurerm_role_assignment" "storage" {
  scope                            = azurerm_storage_container.tenant.id
  role_definition_name             = "Storage Blob Data Contributor"
  principal_id                     = azurerm_user_assigned_identity.tenant.principal_id
  principal_type                   = "ServicePrincipal"
  skip_service_principal_aad_check = true
}

resource "azurerm_role_assignment" "secret" {
  scope                            = azurerm_key_vault_secret.database.resource_versionless_id
  role_definition_name             = "Key Vault Secrets User"
  principal_id                     = azurerm_user_assigned_identity.tenant.principal_id
  principal_type                   = "ServicePrincipal"
  skip_service_principal_aad_check = true
}
