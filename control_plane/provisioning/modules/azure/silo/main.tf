# A resource group of the tenant's own: network, key, database, storage, secret and identities, shared
# with nobody.
#
# Nothing here is protected from deletion by Azure: whether something with data may go is for an
# approval of the plan to say, and a plan that was approved must do what it says. Only the vault is
# kept by Azure for its retention, with key and secret: a tenant that comes back finds them again.
#
# The worker's principal must bear, from the subscription on down: Contributor, a right to assign the
# roles below, Key Vault Crypto Officer and Key Vault Secrets Officer. A role that the module gave it
# here would not be in force yet when the key is made.
data "azurerm_client_config" "here" {}

locals {
  # By the tenant's size: the database's machine, its disk in MB, and whether a second one stands by.
  sizes = {
    small  = { sku = "B_Standard_B1ms", disk = 32768, standby = false }
    medium = { sku = "GP_Standard_D2ds_v5", disk = 131072, standby = true }
    large  = { sku = "MO_Standard_E4ds_v5", disk = 524288, standby = true }
  }
  size = local.sizes[var.size]

  # What storage accounts and vaults may be called: unique in the world, 24 letters and digits.
  short_name = "pb${substr(sha256(var.name), 0, 20)}"
  # No PostgreSQL name takes a dash, and no tenant's name has an underscore: still one name a tenant.
  database_name = replace(var.name, "-", "_")
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

# The vault answers the tenant's workload, Azure's own services that use the key, and the worker.
resource "azurerm_key_vault" "tenant" {
  name                       = local.short_name
  resource_group_name        = azurerm_resource_group.tenant.name
  location                   = azurerm_resource_group.tenant.location
  tenant_id                  = data.azurerm_client_config.here.tenant_id
  sku_name                   = "standard"
  rbac_authorization_enabled = true
  purge_protection_enabled   = true
  soft_delete_retention_days = 90
  tags                       = var.labels

  network_acls {
    default_action             = "Deny"
    bypass                     = "AzureServices"
    ip_rules                   = [var.shared.worker_cidr]
    virtual_network_subnet_ids = [azurerm_subnet.workload.id]
  }

  lifecycle {
    precondition {
      condition     = can(cidrhost(var.shared.worker_cidr, 0)) && can(regex("/(2[4-9]|3[0-2])$", var.shared.worker_cidr))
      error_message = "shared.worker_cidr: the public addresses that the worker calls from, at most 256 of them."
    }
  }
}

resource "azurerm_key_vault_key" "tenant" {
  name         = "tenant"
  key_vault_id = azurerm_key_vault.tenant.id
  key_type     = "RSA"
  key_size     = 3072
  key_opts     = ["unwrapKey", "wrapKey"]
  tags         = var.labels

  rotation_policy {
    automatic {
      time_after_creation = "P90D"
    }
  }
}
