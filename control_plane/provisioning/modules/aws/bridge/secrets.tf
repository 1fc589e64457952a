# Where the tenant's software finds the login to its own database. A name may be taken again at once,
# by a tenant that comes back: the worker can make the password anew, so nothing is lost with it.
resource "aws_secretsmanager_secret" "database" {
  name                    = "${var.name}/database"
  description             = "The login to the database of ${var.tenant_id}."
  kms_key_id              = var.shared.kms_key_arn
  recovery_window_in_days = 0
  tags                    = var.labels
}

# The password goes in and is kept nowhere here: another one takes another version of it.
resource "aws_secretsmanager_secret_version" "database" {
  secret_id                = aws_secretsmanager_secret.database.id
  secret_string_wo         = jsonencode({ username = local.database_name, password = var.database_password })
  secret_string_wo_version = 1
}
