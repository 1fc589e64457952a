# Who works for the tenant takes this identity, whose name Google wants at most 30 characters long. Its
# roles end at the tenant's prefix and at its own note; rows are kept apart by the database itself.
resource "google_service_account" "tenant" {
  account_id   = "pb-${substr(sha256(var.name), 0, 20)}"
  display_name = var.name
  description  = "Works for ${var.tenant_id}."

  lifecycle {
    precondition {
      condition     = can(regex("^[a-z]+-[a-z]+[0-9]{1,2}$", var.region))
      error_message = "region: not the name of a region of Google Cloud."
    }
  }
}

# To list objects is a right on the bucket, which this condition does not give: the tenant's software
# finds its objects by their names.
resource "google_storage_bucket_iam_member" "tenant" {
  bucket = var.shared.bucket
  role   = "roles/storage.objectUser"
  member = google_service_account.tenant.member

  condition {
    title       = "prefix"
    description = "The objects of ${var.tenant_id} alone."
    expression  = "resource.name.startsWith('projects/_/buckets/${var.shared.bucket}/objects/${local.prefix}')"
  }
}

resource "google_secret_manager_secret_iam_member" "tenant" {
  secret_id = google_secret_manager_secret.place.id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.tenant.member
}
