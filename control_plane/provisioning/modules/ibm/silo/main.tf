# A tenant of its own resource group: network, key, database, bucket and identity, shared with nobody.
# Only the service that keeps secrets is shared, and there the tenant has a group of its own.
#
# Nothing here is protected from deletion by IBM: whether something with data may go is for an
# approval of the plan to say, and a plan that was approved must do what it says. IBM keeps a deleted
# service instance for some days; until it is gone, the resource group cannot go either.
locals {
  # By the tenant's size: a machine of the database that nobody shares, and its disk in MB.
  sizes = {
    small  = { machine = "b3c.4x16.encrypted", disk = 20480 }
    medium = { machine = "b3c.8x32.encrypted", disk = 102400 }
    large  = { machine = "b3c.16x64.encrypted", disk = 512000 }
  }
  size = local.sizes[var.size]

  # A resource group's name has at most 40 characters.
  group_name = length(var.name) <= 40 ? var.name : format("%s-%s", substr(var.name, 0, 31), substr(sha256(var.name), 0, 8))
  # What labels are here: texts of a name and a value.
  tags = [for name, value in var.labels : "${name}:${value}"]
}

resource "ibm_resource_group" "tenant" {
  name = local.group_name
  tags = local.tags

  lifecycle {
    precondition {
      condition     = can(regex("^[a-z]{2}-[a-z]{2,5}$", var.region))
      error_message = "region: not the name of a region of IBM Cloud."
    }
  }
}

resource "ibm_resource_instance" "keys" {
  name              = "${var.name}-keys"
  service           = "kms"
  plan              = "tiered-pricing"
  location          = var.region
  resource_group_id = ibm_resource_group.tenant.id
  tags              = local.tags
}

# It may go while deleted data is still registered with it: then nobody reads that data again.
resource "ibm_kms_key" "tenant" {
  instance_id  = ibm_resource_instance.keys.guid
  key_name     = var.name
  standard_key = false
  force_delete = true
}

resource "ibm_kms_key_policies" "rotation" {
  instance_id = ibm_resource_instance.keys.guid
  key_id      = ibm_kms_key.tenant.key_id

  rotation {
    enabled        = true
    interval_month = 3
  }
}
