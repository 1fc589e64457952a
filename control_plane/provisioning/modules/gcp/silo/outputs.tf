output "database" {
  description = "Where the tenant's rows live; secret is where its login lies."
  value = {
    engine = "postgres"
    model  = var.isolation
    name   = google_sql_database.tenant.name
    host   = google_sql_database_instance.tenant.private_ip_address
    port   = 5432
    secret = google_secret_manager_secret.database.id
  }
}

output "storage" {
  description = "Where the tenant's objects lie."
  value = {
    kind   = "gcs"
    name   = google_storage_bucket.tenant.name
    prefix = ""
  }
}

output "key" {
  description = "The key that all of it is encrypted with."
  value       = google_kms_crypto_key.tenant.id
}

output "identity" {
  description = "The identity that may use this tenant's resources and no other's."
  value       = google_service_account.tenant.email
}

output "network" {
  description = "The network that the database stands in."
  value       = google_compute_network.tenant.id
}

output "labels" {
  description = "What all of it bears."
  value       = var.labels
}
