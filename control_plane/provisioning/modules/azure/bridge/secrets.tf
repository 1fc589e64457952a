# Where the tenant's software finds the login to its own database. The password goes in and is kept
# nowhere here: another one takes another version of it.
resource "azurerm_key_vault_secret" "database" {
  name             = "${var.name}-database"
  key_vault_id     = var.shared.key_vault_id
  content_type     = "application/json"
  value_wo         = jsonencode({ username = local.database_name, password = var.database_password })
  value_wo_version = 1
  tags             = var.labels
}
