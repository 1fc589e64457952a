# The password goes in and is kept nowhere here: another one takes another version of it. The key is named
# without its version, so that server and storage follow its rotation by themselves.
resource "azurerm_postgresql_flexible_server" "tenant" {
  name                              = var.name
  resource_group_name               = azurerm_resource_group.tenant.name
  location                          = azurerm_resource_group.tenant.location
  version                           = "17"
  sku_name                          = local.size.sku
  storage_mb                        = local.size.disk
  auto_grow_enabled                 = true
  backup_retention_days             = 14
  delegated_subnet_id               = azurerm_subnet.database.id
  private_dns_zone_id               = azurerm_private_dns_zone.database.id
  public_network_access_enabled     = false
  administrator_login               = "paybill"
  administrator_password_wo         = var.database_password
  administrator_password_wo_version = 1
  tags                              = var.labels

  identity {
    type         = "UserAssigned"
    identity_ids = [azurerm_user_assigned_identity.encryption.id]
  }

  customer_managed_key {
    key_vault_key_id                  = azurerm_key_vault_key.tenant.versionless_id
    primary_user_assigned_identity_id = azurerm_user_assigned_identity.encryption.id
  }

  dynamic "high_availability" {
    for_each = local.size.standby ? ["ZoneRedundant"] : []
    content {
      mode = high_availability.value
    }
  }

  lifecycle {
    # Azure picks the zones and changes them at a failover; the disk grows by itself and never shrinks.
    ignore_changes = [zone, high_availability[0].standby_availability_zone, storage_mb]
  }

  depends_on = [
    azurerm_private_dns_zone_virtual_network_link.database,
    azurerm_role_assignment.encryption,
    azurerm_subnet_network_security_group_association.database,
  ]
}

resource "azurerm_postgresql_flexible_server_configuration" "tls" {
  name      = "require_secure_transport"
  server_id = azurerm_postgresql_flexible_server.tenant.id
  value     = "on"
}

resource "azurerm_postgresql_flexible_server_database" "tenant" {
  name      = local.database_name
  server_id = azurerm_postgresql_flexible_server.tenant.id
  charset   = "UTF8"
  collation = "en_US.utf8"
}
