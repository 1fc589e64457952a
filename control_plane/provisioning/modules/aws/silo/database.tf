resource "aws_db_subnet_group" "tenant" {
  name        = var.name
  description = "The private subnets of ${var.tenant_id}."
  subnet_ids  = aws_subnet.private[*].id
  tags        = var.labels
}

# The password goes in and is kept nowhere here: another one takes another version of it.
# Automated backups outlive the database by their retention, within the life of the key. Of this
# version RDS takes no connection without TLS.
resource "aws_db_instance" "tenant" {
  identifier                 = local.database_id
  engine                     = "postgres"
  engine_version             = "17"
  instance_class             = local.size.class
  allocated_storage          = local.size.disk
  storage_type               = "gp3"
  storage_encrypted          = true
  kms_key_id                 = aws_kms_key.tenant.arn
  multi_az                   = local.size.standby
  db_name                    = local.database_name
  username                   = "paybill"
  password_wo                = var.database_password
  password_wo_version        = 1
  port                       = 5432
  publicly_accessible        = false
  db_subnet_group_name       = aws_db_subnet_group.tenant.name
  vpc_security_group_ids     = [aws_security_group.database.id]
  backup_retention_period    = 14
  delete_automated_backups   = false
  copy_tags_to_snapshot      = true
  auto_minor_version_upgrade = true
  apply_immediately          = true
  deletion_protection        = false
  skip_final_snapshot        = true
  tags                       = var.labels
}
