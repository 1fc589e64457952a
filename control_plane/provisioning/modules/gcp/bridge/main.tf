# A tenant's own bucket, secret and identity, and a name for its own database on the instance that all
# bridge tenants share. The database itself and its login are made by SQL, not here.
#
# Nothing here is protected from deletion by Google: whether something with data may go is for an
# approval of the plan to say, and a plan that was approved must do what it says. The shared key must
# already be open to the project's service agents of Cloud Storage and Secret Manager.
locals {
  # No PostgreSQL name takes a dash, and no tenant's name has an underscore: still one name a tenant.
  database_name = replace(var.name, "-", "_")
}
