output "database" {
  description = "Where the tenant's rows live; secret is where its login lies."
  value = {
    engine = "postgres"
    model  = var.isolation
    name   = local.database_name
    host   = var.shared.database_host
    port   = tonumber(var.shared.database_port)
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
  description = "The key that all of it is encrypted with, which is not the tenant's own."
  value       = var.shared.kms_key
}

output "identity" {
  description = "The identity that may use this tenant's resources and no other's."
  value       = google_service_account.tenant.email
}

output "network" {
  description = "The network that the shared instance stands in."
  value       = var.shared.network_id
}

output "labels" {
  description = "What all of it bears."
  value       = var.labels
}
