# Who works for the tenant takes this role. Only a principal of this account that bears the
# workspace's tag may, and what the role may do names this tenant's resources alone. The key is
# everybody's: of it the role may use no more than what its own bucket and secret are bound to.
resource "aws_iam_role" "tenant" {
  name = var.name
  tags = var.labels
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { AWS = local.account_arn }
      Condition = { StringEquals = { "aws:PrincipalTag/paybill_workspace" = var.labels.paybill_workspace } }
    }]
  })

  lifecycle {
    precondition {
      condition     = can(regex("^[a-z]{2}(-gov|-iso[a-z]?)?-[a-z]+-[0-9]{1,2}$", var.region))
      error_message = "region: not the name of a region of AWS."
    }
  }
}

resource "aws_iam_role_policy" "tenant" {
  name = "tenant"
  role = aws_iam_role.tenant.id
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = ["s3:ListBucket"]
        Resource = [local.bucket_arn]
      },
      {
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject", "s3:DeleteObject"]
        Resource = ["${local.bucket_arn}/*"]
      },
      {
        Effect    = "Allow"
        Action    = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource  = [var.shared.kms_key_arn]
        Condition = { StringEquals = { "kms:EncryptionContext:aws:s3:arn" = local.bucket_arn } }
      },
      {
        Effect    = "Allow"
        Action    = ["kms:Decrypt"]
        Resource  = [var.shared.kms_key_arn]
        Condition = { StringLike = { "kms:EncryptionContext:SecretARN" = local.secret_arn } }
      },
      {
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue"]
        Resource = [local.secret_arn]
      },
    ]
  })
}
