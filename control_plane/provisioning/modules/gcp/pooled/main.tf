# A tenant among others: an identity that reaches its own part of what all share, and a note of where
# that part is. Nothing here holds the tenant's data, so nothing of it would go with the stack.
#
# The shared key must already be open to the project's service agent of Secret Manager.
locals {
  prefix = "${var.name}/"
  place = jsonencode({
    tenant   = var.tenant_id
    database = { host = var.shared.database_host, port = tonumber(var.shared.database_port), name = var.shared.database_name }
    storage  = { bucket = var.shared.bucket, prefix = local.prefix }
  })
}

# No secret, but this is where a small text can be read by one identity alone. Its version follows from
# the text, because the text itself is kept nowhere here.
resource "google_secret_manager_secret" "place" {
  secret_id           = "${var.name}-place"
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

resource "google_secret_manager_secret_version" "place" {
  secret                 = google_secret_manager_secret.place.id
  secret_data_wo         = local.place
  secret_data_wo_version = 1 + parseint(substr(sha256(local.place), 0, 7), 16)
}
