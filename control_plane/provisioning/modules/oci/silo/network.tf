# A network without any way in or out: no gateway, no public address, no rule for the outside.
locals {
  range = "10.0.0.0/24"
}

resource "oci_core_vcn" "tenant" {
  compartment_id = oci_identity_compartment.tenant.id
  display_name   = var.name
  cidr_blocks    = [local.range]
  dns_label      = "tenant"
  freeform_tags  = var.labels
}

# Oracle's own default list lets everybody in by SSH: here it has no rule at all.
resource "oci_core_default_security_list" "closed" {
  manage_default_resource_id = oci_core_vcn.tenant.default_security_list_id
  display_name               = "${var.name}-closed"
  freeform_tags              = var.labels
}

resource "oci_core_subnet" "private" {
  compartment_id             = oci_identity_compartment.tenant.id
  vcn_id                     = oci_core_vcn.tenant.id
  display_name               = "${var.name}-private"
  cidr_block                 = local.range
  dns_label                  = "private"
  prohibit_internet_ingress  = true
  prohibit_public_ip_on_vnic = true
  security_list_ids          = [oci_core_default_security_list.closed.id]
  freeform_tags              = var.labels
}

resource "oci_core_network_security_group" "database" {
  compartment_id = oci_identity_compartment.tenant.id
  vcn_id         = oci_core_vcn.tenant.id
  display_name   = "${var.name}-database"
  freeform_tags  = var.labels
}

resource "oci_core_network_security_group_security_rule" "database" {
  network_security_group_id = oci_core_network_security_group.database.id
  description               = "PostgreSQL from the tenant's own network."
  direction                 = "INGRESS"
  protocol                  = "6"
  source_type               = "CIDR_BLOCK"
  source                    = local.range

  tcp_options {
    destination_port_range {
      min = 5432
      max = 5432
    }
  }
}
