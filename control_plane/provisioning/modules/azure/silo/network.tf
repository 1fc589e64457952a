# A network without any way in: no public address, and every subnet refuses what comes from the internet.
resource "azurerm_virtual_network" "tenant" {
  name                = var.name
  resource_group_name = azurerm_resource_group.tenant.name
  location            = azurerm_resource_group.tenant.location
  address_space       = ["10.0.0.0/16"]
  tags                = var.labels
}

resource "azurerm_network_security_group" "closed" {
  name                = var.name
  resource_group_name = azurerm_resource_group.tenant.name
  location            = azurerm_resource_group.tenant.location
  tags                = var.labels

  security_rule {
    name                       = "nothing-from-the-internet"
    priority                   = 4000
    direction                  = "Inbound"
    access                     = "Deny"
    protocol                   = "*"
    source_address_prefix      = "Internet"
    source_port_range          = "*"
    destination_address_prefix = "*"
    destination_port_range     = "*"
  }
}

# Where the tenant's own software runs.
resource "azurerm_subnet" "workload" {
  name                            = "workload"
  resource_group_name             = azurerm_resource_group.tenant.name
  virtual_network_name            = azurerm_virtual_network.tenant.name
  address_prefixes                = ["10.0.0.0/24"]
  service_endpoints               = ["Microsoft.KeyVault"]
  default_outbound_access_enabled = false
}

# The database's alone: Azure puts nothing else into a subnet that is delegated.
resource "azurerm_subnet" "database" {
  name                 = "database"
  resource_group_name  = azurerm_resource_group.tenant.name
  virtual_network_name = azurerm_virtual_network.tenant.name
  address_prefixes     = ["10.0.1.0/24"]
  service_endpoints    = ["Microsoft.Storage"]

  delegation {
    name = "postgres"
    service_delegation {
      name    = "Microsoft.DBforPostgreSQL/flexibleServers"
      actions = ["Microsoft.Network/virtualNetworks/subnets/join/action"]
    }
  }
}

resource "azurerm_subnet" "endpoints" {
  name                              = "endpoints"
  resource_group_name               = azurerm_resource_group.tenant.name
  virtual_network_name              = azurerm_virtual_network.tenant.name
  address_prefixes                  = ["10.0.2.0/24"]
  private_endpoint_network_policies = "NetworkSecurityGroupEnabled"
  default_outbound_access_enabled   = false
}

resource "azurerm_subnet_network_security_group_association" "workload" {
  subnet_id                 = azurerm_subnet.workload.id
  network_security_group_id = azurerm_network_security_group.closed.id
}

resource "azurerm_subnet_network_security_group_association" "database" {
  subnet_id                 = azurerm_subnet.database.id
  network_security_group_id = azurerm_network_security_group.closed.id
}

resource "azurerm_subnet_network_security_group_association" "endpoints" {
  subnet_id                 = azurerm_subnet.endpoints.id
  network_security_group_id = azurerm_network_security_group.closed.id
}

resource "azurerm_private_dns_zone" "database" {
  name                = "${var.name}.private.postgres.database.azure.com"
  resource_group_name = azurerm_resource_group.tenant.name
  tags                = var.labels
}

resource "azurerm_private_dns_zone_virtual_network_link" "database" {
  name                  = "database"
  resource_group_name   = azurerm_resource_group.tenant.name
  private_dns_zone_name = azurerm_private_dns_zone.database.name
  virtual_network_id    = azurerm_virtual_network.tenant.id
  tags                  = var.labels
}

resource "azurerm_private_dns_zone" "storage" {
  name                = "privatelink.blob.core.windows.net"
  resource_group_name = azurerm_resource_group.tenant.name
  tags                = var.labels
}

resource "azurerm_private_dns_zone_virtual_network_link" "storage" {
  name                  = "storage"
  resource_group_name   = azurerm_resource_group.tenant.name
  private_dns_zone_name = azurerm_private_dns_zone.storage.name
  virtual_network_id    = azurerm_virtual_network.tenant.id
  tags                  = var.labels
}
