# Who works for the tenant takes this identity, whose name Google wants at most 30 characters long. Each
# of its roles holds for one thing of the tenant's.
resource "google_service_account" "tenant" {
  account_id   = "pb-${substr(sha256(var.name), 0, 20)}"
  display_name = var.name
  description  = "Works for ${var.tenant_id}."
}

resource "google_storage_bucket_iam_member" "tenant" {
  bucket = google_storage_bucket.tenant.name
  role   = "roles/storage.objectUser"
  member = google_service_account.tenant.member
}

resource "google_secret_manager_secret_iam_member" "tenant" {
  secret_id = google_secret_manager_secret.database.id
  role      = "roles/secretmanager.secretAccessor"
  member    = google_service_account.tenant.member
}
