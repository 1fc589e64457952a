resource "google_sql_database_instance" "tenant" {
  name                = var.name
  region              = var.region
  database_version    = "POSTGRES_17"
  encryption_key_name = google_kms_crypto_key.tenant.id
  deletion_protection = false

  settings {
    tier                        = local.size.tier
    edition                     = "ENTERPRISE"
    availability_type           = local.size.standby ? "REGIONAL" : "ZONAL"
    disk_type                   = "PD_SSD"
    disk_size                   = local.size.disk
    disk_autoresize             = true
    deletion_protection_enabled = false
    user_labels                 = var.labels

    ip_configuration {
      ipv4_enabled    = false
      private_network = google_compute_network.tenant.id
      ssl_mode        = "ENCRYPTED_ONLY"
    }

    backup_configuration {
      enabled                        = true
      start_time                     = "02:00"
      location                       = var.region
      point_in_time_recovery_enabled = true
      transaction_log_retention_days = 7
      backup_retention_settings {
        retention_unit   = "COUNT"
        retained_backups = 14
      }
    }
  }

  lifecycle {
    # The disk grows by itself and never shrinks.
    ignore_changes = [settings[0].disk_size]
  }

  depends_on = [
    google_kms_crypto_key_iam_member.service,
    google_service_networking_connection.services,
  ]
}

# Database and login go with their instance: neither could be dropped from under a connection.
resource "google_sql_database" "tenant" {
  name            = local.database_name
  instance        = google_sql_database_instance.tenant.name
  charset         = "UTF8"
  collation       = "en_US.UTF8"
  deletion_policy = "ABANDON"
}

# The password goes in and is kept nowhere here: another one takes another version of it.
resource "google_sql_user" "tenant" {
  name                = "paybill"
  instance            = google_sql_database_instance.tenant.name
  password_wo         = var.database_password
  password_wo_version = 1
  deletion_policy     = "ABANDON"
}
