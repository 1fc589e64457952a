output "database" {
  description = "Where the tenant's rows live; secret is where its login lies."
  value = {
    engine = "postgres"
    model  = var.isolation
    name   = local.database_name
    host   = var.shared.database_host
    port   = tonumber(var.shared.database_port)
    secret = aws_secretsmanager_secret.database.arn
  }
}

output "storage" {
  description = "Where the tenant's objects lie."
  value = {
    kind   = "s3"
    name   = aws_s3_bucket.tenant.bucket
    prefix = ""
  }
}

output "key" {
  description = "The key that all of it is encrypted with, which is not the tenant's own."
  value       = var.shared.kms_key_arn
}

output "identity" {
  description = "The role that may use this tenant's resources and no other's."
  value       = aws_iam_role.tenant.arn
}

output "network" {
  description = "The network that the shared instance stands in."
  value       = var.shared.network_id
}

output "labels" {
  description = "What all of it bears."
  value       = var.labels
}
