# The allocation of a database file of the tenant's own, beside a membership in what all bridge tenants read.
# Another name is another database, hence a replacement and never an update.
resource "terraform_data" "database" {
  input = {
    engine = "sqlite"
    model  = var.isolation
    name   = "${var.tenant_id}.sqlite3"
  }
  triggers_replace = [var.tenant_id, var.region]
}

resource "terraform_data" "membership" {
  input = {
    tenant    = var.tenant_id
    plan      = var.plan
    region    = var.region
    reference = "reference.sqlite3"
  }
}
