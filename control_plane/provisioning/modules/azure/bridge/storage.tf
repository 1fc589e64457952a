# A container's name takes no two dashes in a row, which a tenant's name may have.
resource "azurerm_storage_container" "tenant" {
  name                  = "pb${substr(sha256(var.name), 0, 20)}"
  storage_account_id    = var.shared.storage_account_id
  container_access_type = "private"
  metadata              = var.labels
}
