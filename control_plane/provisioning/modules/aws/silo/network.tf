# A network without any way in or out: no gateway, no public address, no rule for the outside.
data "aws_availability_zones" "here" {
  state = "available"
}

resource "aws_vpc" "tenant" {
  cidr_block           = "10.0.0.0/16"
  enable_dns_support   = true
  enable_dns_hostnames = true
  tags                 = merge(var.labels, { Name = var.name })
}

# What everything in the network would get that names no group of its own: nothing.
resource "aws_default_security_group" "closed" {
  vpc_id = aws_vpc.tenant.id
  tags   = var.labels
}

resource "aws_subnet" "private" {
  count                   = 2
  vpc_id                  = aws_vpc.tenant.id
  cidr_block              = cidrsubnet(aws_vpc.tenant.cidr_block, 8, count.index)
  availability_zone       = element(data.aws_availability_zones.here.names, count.index)
  map_public_ip_on_launch = false
  tags                    = merge(var.labels, { Name = var.name })
}

resource "aws_security_group" "client" {
  name        = "${var.name}-client"
  description = "Whoever may reach the database of ${var.tenant_id}."
  vpc_id      = aws_vpc.tenant.id
  tags        = var.labels

  egress {
    description = "PostgreSQL within the network."
    protocol    = "tcp"
    from_port   = 5432
    to_port     = 5432
    cidr_blocks = [aws_vpc.tenant.cidr_block]
  }
}

resource "aws_security_group" "database" {
  name        = "${var.name}-database"
  description = "The database of ${var.tenant_id}."
  vpc_id      = aws_vpc.tenant.id
  tags        = var.labels

  ingress {
    description     = "PostgreSQL from the clients of the tenant."
    protocol        = "tcp"
    from_port       = 5432
    to_port         = 5432
    security_groups = [aws_security_group.client.id]
  }
}
