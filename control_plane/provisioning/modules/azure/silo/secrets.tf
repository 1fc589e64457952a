# Where the tenant's software finds the login.
resource "azurerm_key_vault_secret" "database" {
  name             = "database"
  key_vault_id     = azurerm_key_vault.tenant.id
  content_type     = "application/json"
  value_wo         = jsonencode({ username = azurerm_postgresql_flexible_server.tenant.administrator_login, password = var.database_password })
  value_wo_version = 1
  tags             = var.labels
}
