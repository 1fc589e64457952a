# Who works for the tenant is this service id. What it may do names this tenant's resources alone.
resource "ibm_iam_service_id" "tenant" {
  name        = var.name
  description = "Who works for ${var.tenant_id}."
  tags        = local.tags
}

resource "ibm_iam_service_policy" "objects" {
  iam_id      = ibm_iam_service_id.tenant.iam_id
  roles       = ["Writer"]
  description = "The bucket of ${var.tenant_id}."
  tags        = local.tags

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
    value = ibm_cos_bucket.tenant.bucket_name
  }
}

resource "ibm_iam_service_policy" "secrets" {
  iam_id      = ibm_iam_service_id.tenant.iam_id
  roles       = ["SecretsReader"]
  description = "The secrets of ${var.tenant_id}."
  tags        = local.tags

  resource_attributes {
    name  = "serviceName"
    value = "secrets-manager"
  }

  resource_attributes {
    name  = "serviceInstance"
    value = var.shared.secrets_manager_id
  }

  resource_attributes {
    name  = "resourceType"
    value = "secret-group"
  }

  resource_attributes {
    name  = "resource"
    value = ibm_sm_secret_group.tenant.secret_group_id
  }
}
