# A tenant's own bucket, secret and identity, and a name for its own database on the instance that all
# bridge tenants share. The database itself and its login are made by SQL, not here.
#
# Nothing here is protected from deletion by AWS: whether something with data may go is for an
# approval of the plan to say, and a plan that was approved must do what it says.
data "aws_caller_identity" "here" {}

data "aws_partition" "here" {}

locals {
  # Made of names, not of resources: so a plan shows in full what each policy would allow.
  account     = data.aws_caller_identity.here.account_id
  partition   = data.aws_partition.here.partition
  bucket_arn  = "arn:${local.partition}:s3:::${var.name}"
  secret_arn  = "arn:${local.partition}:secretsmanager:${var.region}:${local.account}:secret:${var.name}/database-??????"
  account_arn = "arn:${local.partition}:iam::${local.account}:root"

  # No PostgreSQL name takes a dash, and no tenant's name has an underscore: still one name a tenant.
  database_name = replace(var.name, "-", "_")
}
