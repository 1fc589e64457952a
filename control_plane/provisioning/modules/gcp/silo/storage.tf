resource "google_storage_bucket" "tenant" {
  name                        = var.name
  location                    = upper(var.region)
  storage_class               = "STANDARD"
  uniform_bucket_level_access = true
  public_access_prevention    = "enforced"
  force_destroy               = true
  labels                      = var.labels

  versioning {
    enabled = true
  }

  encryption {
    default_kms_key_name = google_kms_crypto_key.tenant.id
  }

  depends_on = [google_kms_crypto_key_iam_member.service]
}
