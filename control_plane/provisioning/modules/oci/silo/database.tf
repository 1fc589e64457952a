# The first version of the secret is what the database is made with: another number here would be
# another database. Oracle reads it in the worker's name, who must be let to in the compartment above.
# The storage is encrypted with a key of Oracle's; the provider takes no other.
resource "oci_psql_db_system" "tenant" {
  compartment_id              = oci_identity_compartment.tenant.id
  display_name                = var.name
  db_version                  = "16"
  shape                       = "PostgreSQL.VM.Standard.E5.Flex"
  instance_count              = 1
  instance_ocpu_count         = local.size.processors
  instance_memory_size_in_gbs = local.size.memory
  freeform_tags               = var.labels

  credentials {
    username = "paybill"

    password_details {
      password_type  = "VAULT_SECRET"
      secret_id      = oci_vault_secret.database.id
      secret_version = "1"
    }
  }

  network_details {
    subnet_id = oci_core_subnet.private.id
    nsg_ids   = [oci_core_network_security_group.database.id]
  }

  storage_details {
    is_regionally_durable = true
    system_type           = "OCI_OPTIMIZED_STORAGE"
  }

  management_policy {
    backup_policy {
      kind           = "DAILY"
      backup_start   = "02:00"
      retention_days = 14
    }
  }
}

data "oci_psql_db_system_connection_detail" "tenant" {
  db_system_id = oci_psql_db_system.tenant.id
}

locals {
  endpoint = data.oci_psql_db_system_connection_detail.tenant.primary_db_endpoint[0]
}
