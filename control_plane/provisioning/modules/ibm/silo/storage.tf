resource "ibm_resource_instance" "objects" {
  name              = "${var.name}-objects"
  service           = "cloud-object-storage"
  plan              = "standard"
  location          = "global"
  resource_group_id = ibm_resource_group.tenant.id
  tags              = local.tags
}

# Without a policy that says so, nobody reads a bucket; none here does but the tenant's own.
resource "ibm_cos_bucket" "tenant" {
  bucket_name          = var.name
  resource_instance_id = ibm_resource_instance.objects.id
  region_location      = var.region
  storage_class        = "smart"
  kms_key_crn          = ibm_kms_key.tenant.crn
  force_delete         = true

  object_versioning {
    enable = true
  }

  depends_on = [ibm_iam_authorization_policy.objects_key]
}
