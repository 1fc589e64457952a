# A tenant among others: an identity that reaches its own part of what all share, and a note of where
# that part is. Nothing here holds the tenant's data, so nothing of it would go with the stack.
locals {
  prefix    = "${var.name}/"
  container = "${var.shared.storage_account_id}/blobServices/default/containers/${var.shared.container}"
  place = jsonencode({
    tenant   = var.tenant_id
    database = { host = var.shared.database_host, port = tonumber(var.shared.database_port), name = var.shared.database_name }
    storage  = { account = basename(var.shared.storage_account_id), container = var.shared.container, prefix = local.prefix }
  })
}

resource "azurerm_resource_group" "tenant" {
  name     = var.name
  location = var.region
  tags     = var.labels

  lifecycle {
    precondition {
      condition     = can(regex("^[a-z]{4,}[0-9]?$", var.region))
      error_message = "region: not the name of a location of Azure."
    }
  }
}

# No secret, but the vault is where a small text can be read by one identity alone. Its version follows
# from the text, because the text itself is kept nowhere here.
resource "azurerm_key_vault_secret" "place" {
  name             = "${var.name}-place"
  key_vault_id     = var.shared.key_vault_id
  content_type     = "application/json"
  value_wo         = local.place
  value_wo_version = 1 + parseint(substr(sha256(local.place), 0, 7), 16)
  tags             = var.labels
}
