# Where the tenant's software finds the login. A name may be taken again at once, by a tenant that
# comes back: the worker can make the password anew, so nothing is lost with it.
resource "aws_secretsmanager_secret" "database" {
  name                    = "${var.name}/database"
  description             = "The login to the database of ${var.tenant_id}."
  kms_key_id              = aws_kms_key.tenant.arn
  recovery_window_in_days = 0
  tags                    = var.labels
}

resource "aws_secretsmanager_secret_version" "database" {
  secret_id                = aws_secretsmanager_secret.database.id
  secret_string_wo         = jsonencode({ username = aws_db_instance.tenant.username, password = var.database_password })
  secret_string_wo_version = 1
}
