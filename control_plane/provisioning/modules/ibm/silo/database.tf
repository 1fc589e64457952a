# The provider has no write-only password: whatever it is given, it keeps in the state. So none is
# given. The worker sets one at the database after the apply, and puts it where the output says.
resource "ibm_database" "tenant" {
  name                 = var.name
  service              = "databases-for-postgresql"
  plan                 = "standard"
  version              = "16"
  location             = var.region
  resource_group_id    = ibm_resource_group.tenant.id
  service_endpoints    = "private"
  key_protect_instance = ibm_resource_instance.keys.id
  key_protect_key      = ibm_kms_key.tenant.crn
  deletion_protection  = false
  tags                 = local.tags

  group {
    group_id = "member"

    host_flavor {
      id = local.size.machine
    }

    disk {
      allocation_mb = local.size.disk
    }
  }

  timeouts {
    create = "120m"
    update = "120m"
    delete = "60m"
  }

  depends_on = [ibm_iam_authorization_policy.database_key]
}

# The address alone: of the login it has the name, and a placeholder for the password.
data "ibm_database_connection" "tenant" {
  deployment_id = ibm_database.tenant.id
  endpoint_type = "private"
  user_type     = "database"
  user_id       = ibm_database.tenant.adminuser
}

locals {
  database      = data.ibm_database_connection.tenant.postgres[0]
  database_port = local.database.hosts[0].port
}
