output "database" {
  description = "Where the tenant's rows live; secret is where its login lies, once it is set outside Terraform."
  value = {
    engine = "postgres"
    model  = var.isolation
    name   = local.database_name
    host   = var.shared.database_host
    port   = tonumber(var.shared.database_port)
    secret = "${var.shared.secrets_manager_id}/${ibm_sm_secret_group.tenant.secret_group_id}/database"
  }
}

output "storage" {
  description = "Where the tenant's objects lie."
  value = {
    kind   = "cos"
    name   = ibm_cos_bucket.tenant.bucket_name
    prefix = ""
  }
}

output "key" {
  description = "The key that all of it is encrypted with."
  value       = var.shared.kms_key_crn
}

output "identity" {
  description = "The service id that may use this tenant's resources and no other's."
  value       = ibm_iam_service_id.tenant.iam_id
}

output "network" {
  description = "The network that the database stands in."
  value       = var.shared.network_id
}

output "labels" {
  description = "What all of it bears."
  value       = var.labels
}
