# A tenant among others: an identity that reaches its own part of what all share, and a note of where
# that part is. Nothing here holds the tenant's data, so nothing of it would go with the stack.
data "aws_caller_identity" "here" {}

data "aws_partition" "here" {}

locals {
  prefix = "${var.name}/"

  # Made of names, not of resources: so a plan shows in full what each policy would allow.
  account     = data.aws_caller_identity.here.account_id
  partition   = data.aws_partition.here.partition
  bucket_arn  = "arn:${local.partition}:s3:::${var.shared.bucket}"
  place_arn   = "arn:${local.partition}:ssm:${var.region}:${local.account}:parameter/paybill/${var.name}/place"
  account_arn = "arn:${local.partition}:iam::${local.account}:root"
}

resource "aws_ssm_parameter" "place" {
  name        = "/paybill/${var.name}/place"
  description = "Where the rows and objects of ${var.tenant_id} are."
  type        = "String"
  tags        = var.labels
  value = jsonencode({
    tenant   = var.tenant_id
    database = { host = var.shared.database_host, port = tonumber(var.shared.database_port), name = var.shared.database_name }
    storage  = { bucket = var.shared.bucket, prefix = local.prefix }
  })
}
