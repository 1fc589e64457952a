output "database" {
  description = "Where the tenant's rows live; secret is where its login lies."
  value = {
    engine = "postgres"
    model  = var.isolation
    name   = aws_db_instance.tenant.db_name
    host   = aws_db_instance.tenant.address
    port   = aws_db_instance.tenant.port
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
  description = "The key that all of it is encrypted with."
  value       = aws_kms_key.tenant.arn
}

output "identity" {
  description = "The role that may use this tenant's resources and no other's."
  value       = aws_iam_role.tenant.arn
}

output "network" {
  description = "The network that the database stands in."
  value       = aws_vpc.tenant.id
}

output "labels" {
  description = "What all of it bears."
  value       = var.labels
}
