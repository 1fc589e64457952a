# Where the tenant's software finds the login to its own database. The password goes in and is
# kept nowhere here: another one takes another version of it.
resource "google_secret_manager_secret" "database" {
  secret_id           = "${var.name}-database"
  deletion_protection = false
  labels              = var.labels

  replication {
    user_managed {
      replicas {
        location = var.region
        customer_managed_encryption {
          kms_key_name = var.shared.kms_key
        }
      }
    }
  }
}

resource "google_secret_manager_secret_version" "database" {
  secret                 = google_secret_manager_secret.database.id
  secret_data_wo         = jsonencode({ username = local.database_name, password = var.database_password })
  secret_data_wo_version = 1
}
