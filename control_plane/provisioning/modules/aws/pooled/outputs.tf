output "database" {
  description = "Where the tenant's rows live, among those of others: it has no login of its own."
  value = {
    engine = "postgres"
    model  = var.isolation
    name   = var.shared.database_name
    host   = var.shared.database_host
    port   = tonumber(var.shared.database_port)
    secret = null
  }
}

output "storage" {
  description = "Where the tenant's objects lie; none of another's begins like this."
  value = {
    kind   = "s3"
    name   = var.shared.bucket
    prefix = local.prefix
  }
}

output "key" {
  description = "The key that all of it is encrypted with, which is not the tenant's own."
  value       = var.shared.kms_key_arn
}

output "identity" {
  description = "The role that may use the tenant's part and no other."
  value       = aws_iam_role.tenant.arn
}

output "network" {
  description = "The network that the shared database stands in."
  value       = var.shared.network_id
}

output "labels" {
  description = "What all of it bears."
  value       = var.labels
}
