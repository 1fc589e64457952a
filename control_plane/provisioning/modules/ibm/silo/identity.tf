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
    value = ibm_resource_instance.objects.guid
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

# The database and the storage may use the tenant's key: of this group, of these instances.
resource "ibm_iam_authorization_policy" "database_key" {
  source_service_name         = "databases-for-postgresql"
  source_resource_group_id    = ibm_resource_group.tenant.id
  target_service_name         = "kms"
  target_resource_instance_id = ibm_resource_instance.keys.guid
  roles                       = ["Reader"]
  description                 = "The database of ${var.tenant_id} uses its key."
}

resource "ibm_iam_authorization_policy" "objects_key" {
  source_service_name         = "cloud-object-storage"
  source_resource_instance_id = ibm_resource_instance.objects.guid
  target_service_name         = "kms"
  target_resource_instance_id = ibm_resource_instance.keys.guid
  roles                       = ["Reader"]
  description                 = "The storage of ${var.tenant_id} uses its key."
}
