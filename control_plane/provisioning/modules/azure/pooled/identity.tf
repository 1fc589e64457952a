# Who works for the tenant takes this identity. Its roles end at the tenant's prefix and at its own
# note; rows are kept apart by the database itself.
resource "azurerm_user_assigned_identity" "tenant" {
  name                = var.name
  resource_group_name = azurerm_resource_group.tenant.name
  location            = azurerm_resource_group.tenant.location
  tags                = var.labels
}

# The role is one of ours, of the four actions on blobs below: the built-in one may also delete the
# container that all share, and no condition holds for that.
resource "azurerm_role_assignment" "storage" {
  scope                            = local.container
  role_definition_id               = var.shared.blob_role_id
  principal_id                     = azurerm_user_assigned_identity.tenant.principal_id
  principal_type                   = "ServicePrincipal"
  skip_service_principal_aad_check = true
  condition_version                = "2.0"
  condition = join(" ", [
    "((!(ActionMatches{'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read'} AND NOT SubOperationMatches{'Blob.List'})",
    "AND !(ActionMatches{'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/write'})",
    "AND !(ActionMatches{'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/add/action'})",
    "AND !(ActionMatches{'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/delete'}))",
    "OR (@Resource[Microsoft.Storage/storageAccounts/blobServices/containers/blobs:path] StringStartsWith '${local.prefix}'))",
    "AND ((!(ActionMatches{'Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read'} AND SubOperationMatches{'Blob.List'}))",
    "OR (@Request[Microsoft.Storage/storageAccounts/blobServices/containers/blobs:prefix] StringStartsWith '${local.prefix}'))",
  ])
}

resource "azurerm_role_assignment" "place" {
  scope                            = azurerm_key_vault_secret.place.resource_versionless_id
  role_definition_name             = "Key Vault Secrets User"
  principal_id                     = azurerm_user_assigned_identity.tenant.principal_id
  principal_type                   = "ServicePrincipal"
  skip_service_principal_aad_check = true
}
