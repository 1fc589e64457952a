# A tenant among others: an identity that reaches its own part of the shared bucket and nothing else.
# Its rows are kept apart by the database itself, whose login no tenant has.
locals {
  # What labels are here: texts of a name and a value.
  tags = [for name, value in var.labels : "${name}:${value}"]
  # A CRN has ten parts; the eighth is the id of the instance.
  objects_id = element(split(":", var.shared.cos_instance_id), 7)
  prefix     = "${var.name}/"
}

resource "ibm_iam_service_id" "tenant" {
  name        = var.name
  description = "Who works for ${var.tenant_id}."
  tags        = local.tags

  lifecycle {
    precondition {
      condition     = can(regex("^[a-z]{2}-[a-z]{2,5}$", var.region))
      error_message = "region: not the name of a region of IBM Cloud."
    }
  }
}

# An object by its name; a list of objects by the prefix that it asks for. A list without one is refused.
resource "ibm_iam_service_policy" "objects" {
  iam_id        = ibm_iam_service_id.tenant.iam_id
  roles         = ["Writer"]
  description   = "The objects of ${var.tenant_id}."
  pattern       = "attribute-based-condition:resource:literal-and-wildcard"
  rule_operator = "or"
  tags          = local.tags

  resource_attributes {
    name  = "serviceName"
    value = "cloud-object-storage"
  }

  resource_attributes {
    name  = "serviceInstance"
    value = local.objects_id
  }

  resource_attributes {
    name  = "resourceType"
    value = "bucket"
  }

  resource_attributes {
    name  = "resource"
    value = var.shared.bucket
  }

  rule_conditions {
    key      = "{{resource.attributes.path}}"
    operator = "stringMatch"
    value    = ["${local.prefix}*"]
  }

  rule_conditions {
    operator = "and"

    conditions {
      key      = "{{resource.attributes.prefix}}"
      operator = "stringMatch"
      value    = ["${local.prefix}*"]
    }

    conditions {
      key      = "{{resource.attributes.delimiter}}"
      operator = "stringEqualsAnyOf"
      value    = ["/", ""]
    }
  }
}
