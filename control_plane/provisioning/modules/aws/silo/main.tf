# A tenant of its own account corner: network, key, database, bucket, secret and identity, shared with nobody.
#
# Nothing here is protected from deletion by AWS: whether something with data may go is for an
# approval of the plan to say, and a plan that was approved must do what it says.
data "aws_caller_identity" "here" {}

data "aws_partition" "here" {}

locals {
  # By the tenant's size: the database's machine, its disk in GB, and whether a second one stands by.
  # AWS lets a disk grow and never shrink: it turns a smaller size away, and nothing has changed.
  sizes = {
    small  = { class = "db.t4g.small", disk = 20, standby = false }
    medium = { class = "db.m7g.large", disk = 100, standby = true }
    large  = { class = "db.r7g.xlarge", disk = 500, standby = true }
  }
  size = local.sizes[var.size]

  # A database's identifier takes no two dashes in a row, which a tenant's name may have.
  database_id = strcontains(var.name, "--") ? format("%s-%s", replace(var.name, "/-+/", "-"), substr(sha256(var.name), 0, 8)) : var.name
  # Made of names, not of resources: so a plan shows in full what each policy would allow.
  account     = data.aws_caller_identity.here.account_id
  partition   = data.aws_partition.here.partition
  bucket_arn  = "arn:${local.partition}:s3:::${var.name}"
  keys_arn    = "arn:${local.partition}:kms:${var.region}:${local.account}:key/*"
  secret_arn  = "arn:${local.partition}:secretsmanager:${var.region}:${local.account}:secret:${var.name}/database-??????"
  account_arn = "arn:${local.partition}:iam::${local.account}:root"

  # No PostgreSQL name takes a dash, and no tenant's name has an underscore: still one name a tenant.
  database_name = replace(var.name, "-", "_")
}

resource "aws_kms_key" "tenant" {
  description             = "All data of ${var.tenant_id}."
  enable_key_rotation     = true
  deletion_window_in_days = 30
  tags                    = var.labels

  lifecycle {
    precondition {
      condition     = can(regex("^[a-z]{2}(-gov|-iso[a-z]?)?-[a-z]+-[0-9]{1,2}$", var.region))
      error_message = "region: not the name of a region of AWS."
    }
  }
}

resource "aws_kms_alias" "tenant" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.tenant.key_id
}
