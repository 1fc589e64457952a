# The allocation of a database file and an access group of the tenant's own.
# Another name is another database, hence a replacement and never an update.
resource "terraform_data" "database" {
  input = {
    engine = "sqlite"
    model  = var.isolation
    name   = "${var.tenant_id}.sqlite3"
  }
  triggers_replace = [var.tenant_id, var.region]
}

resource "terraform_data" "access_group" {
  input = {
    name   = "tenant-${var.tenant_id}"
    tenant = var.tenant_id
    plan   = var.plan
    region = var.region
  }
}
