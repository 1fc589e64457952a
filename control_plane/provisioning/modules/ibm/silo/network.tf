# A network without any way in or out: no public gateway, no floating address, no rule for the outside.
# What the network gets by itself, the default group and list, has no rule at all.
locals {
  zone  = "${var.region}-1"
  range = "10.0.0.0/24"
  # Its own addresses, and those of IBM's name servers and services, which have no way to the outside.
  known = [local.range, "161.26.0.0/16", "166.8.0.0/14"]
}

resource "ibm_is_vpc" "tenant" {
  name                      = var.name
  resource_group            = ibm_resource_group.tenant.id
  address_prefix_management = "manual"
  no_sg_acl_rules           = true
  tags                      = local.tags
}

resource "ibm_is_vpc_address_prefix" "private" {
  name = "${var.name}-private"
  vpc  = ibm_is_vpc.tenant.id
  zone = local.zone
  cidr = local.range
}

resource "ibm_is_network_acl" "private" {
  name           = "${var.name}-private"
  vpc            = ibm_is_vpc.tenant.id
  resource_group = ibm_resource_group.tenant.id
  tags           = local.tags

  dynamic "rules" {
    for_each = local.known
    content {
      name        = "in-${rules.key}"
      action      = "allow"
      direction   = "inbound"
      source      = rules.value
      destination = local.range
    }
  }

  dynamic "rules" {
    for_each = local.known
    content {
      name        = "out-${rules.key}"
      action      = "allow"
      direction   = "outbound"
      source      = local.range
      destination = rules.value
    }
  }
}

resource "ibm_is_subnet" "private" {
  name            = "${var.name}-private"
  vpc             = ibm_is_vpc.tenant.id
  zone            = local.zone
  ipv4_cidr_block = ibm_is_vpc_address_prefix.private.cidr
  network_acl     = ibm_is_network_acl.private.id
  resource_group  = ibm_resource_group.tenant.id
  tags            = local.tags
}

resource "ibm_is_security_group" "database" {
  name           = "${var.name}-database"
  vpc            = ibm_is_vpc.tenant.id
  resource_group = ibm_resource_group.tenant.id
  tags           = local.tags
}

resource "ibm_is_security_group_rule" "database" {
  group     = ibm_is_security_group.database.id
  name      = "postgresql-from-the-tenant"
  direction = "inbound"
  protocol  = "tcp"
  remote    = local.range
  port_min  = local.database_port
  port_max  = local.database_port
}

# The way from the network to the database, over IBM's own lines.
resource "ibm_is_virtual_endpoint_gateway" "database" {
  name            = "${var.name}-database"
  vpc             = ibm_is_vpc.tenant.id
  resource_group  = ibm_resource_group.tenant.id
  security_groups = [ibm_is_security_group.database.id]
  tags            = local.tags

  target {
    crn           = ibm_database.tenant.id
    resource_type = "provider_cloud_service"
  }

  ips {
    name   = "${var.name}-database"
    subnet = ibm_is_subnet.private.id
  }
}
