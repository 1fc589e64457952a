# Where the tenant's software finds the login.
resource "google_secret_manager_secret" "database" {
  secret_id           = "${var.name}-database"
  deletion_protection = false
  labels              = var.labels

  replication {
    user_managed {
      replicas {
        location = var.region
        customer_managed_encryption {
          kms_key_name = google_kms_crypto_key.tenant.id
        }
      }
    }
  }

  depends_on = [google_kms_crypto_key_iam_member.service]
}

resource "google_secret_manager_secret_version" "database" {
  secret                 = google_secret_manager_secret.database.id
  secret_data_wo         = jsonencode({ username = google_sql_user.tenant.name, password = var.database_password })
  secret_data_wo_version = 1
}
