# A tenant's own container, secret and identity, and a name for its own database on the server that all
# bridge tenants share. The database itself and its login are made by SQL, not here.
#
# Nothing here is protected from deletion by Azure: whether something with data may go is for an
# approval of the plan to say, and a plan that was approved must do what it says. Only the secret is
# kept by the vault for its retention: a tenant that comes back finds it again.
locals {
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
