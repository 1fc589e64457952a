# Membership in the shared database: no infrastructure of the tenant's own, and no data that would go with it.
resource "terraform_data" "membership" {
  input = {
    tenant = var.tenant_id
    plan   = var.plan
    region = var.region
    database = {
      engine = "sqlite"
      model  = var.isolation
      name   = "pooled.sqlite3"
    }
  }
}
