# A tenant among others: an identity that reaches its own part of the shared bucket and nothing else.
# Its rows are kept apart by the database itself, whose login no tenant has.
locals {
  prefix = "${var.name}/"
}

# Who works for the tenant are the machines of the shared compartment that bear its tag. It is a tag
# of a namespace, which only who may use the namespace can set; a free tag anybody could. The policy
# says names where it can, so that whoever approves the plan can read it.
resource "oci_identity_dynamic_group" "tenant" {
  provider       = oci.home
  compartment_id = var.shared.tenancy_id
  name           = var.name
  description    = "Who works for ${var.tenant_id}."
  matching_rule  = "ALL {instance.compartment.id = '${var.shared.compartment_id}', tag.${var.shared.tag_namespace}.tenant.value = '${var.name}'}"
  freeform_tags  = var.labels

  lifecycle {
    precondition {
      condition     = can(regex("^[a-z]{2}(-[a-z]+){1,2}-[0-9]$", var.region))
      error_message = "region: not the name of a region of Oracle Cloud."
    }
  }
}

resource "oci_identity_policy" "tenant" {
  provider       = oci.home
  compartment_id = var.shared.compartment_id
  name           = var.name
  description    = "What works for ${var.tenant_id} may use its objects."
  freeform_tags  = var.labels

  statements = [
    "Allow dynamic-group ${oci_identity_dynamic_group.tenant.name} to manage objects in compartment id ${var.shared.compartment_id} where all {target.bucket.name = '${var.shared.bucket}', target.object.name = '${local.prefix}*'}",
  ]
}
