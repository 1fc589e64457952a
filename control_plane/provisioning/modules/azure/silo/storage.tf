# Reached through the tenant's own network and by identities alone: it has no key to hand out.
resource "azurerm_storage_account" "tenant" {
  name                              = local.short_name
  resource_group_name               = azurerm_resource_group.tenant.name
  location                          = azurerm_resource_group.tenant.location
  account_kind                      = "StorageV2"
  account_tier                      = "Standard"
  account_replication_type          = "ZRS"
  https_traffic_only_enabled        = true
  min_tls_version                   = "TLS1_2"
  public_network_access_enabled     = false
  allow_nested_items_to_be_public   = false
  shared_access_key_enabled         = false
  local_user_enabled                = false
  default_to_oauth_authentication   = true
  cross_tenant_replication_enabled  = false
  infrastructure_encryption_enabled = true
  tags                              = var.labels

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.encryption.id]
  }

  customer_managed_key {
    key_vault_key_id          = azurerm_key_vault_key.tenant.versionless_id
    user_assigned_identity_id = azurerm_user_assigned_identity.encryption.id
  }

  blob_properties {
    versioning_enabled = true
    delete_retention_policy {
      days = 30
    }
    container_delete_retention_policy {
      days = 30
    }
  }

  depends_on = [azurerm_role_assignment.encryption]
}

resource "azurerm_storage_container" "tenant" {
  name                  = "tenant"
  storage_account_id    = azurerm_storage_account.tenant.id
  container_access_type = "private"
  metadata              = var.labels
}

resource "azurerm_private_endpoint" "storage" {
  name                = "${var.name}-storage"
  resource_group_name = azurerm_resource_group.tenant.name
  location            = azurerm_resource_group.tenant.location
  subnet_id           = azurerm_subnet.endpoints.id
  tags                = var.labels

  private_service_connection {
    name                           = "storage"
    private_connection_resource_id = azurerm_storage_account.tenant.id
    subresource_names              = ["blob"]
    is_manual_connection           = false
  }

  private_dns_zone_group {
    name                 = "storage"
    private_dns_zone_ids = [azurerm_private_dns_zone.storage.id]
  }
}
