# A tenant's own corner of the project: network, key, database, bucket, secret and identity, shared with
# nobody.
#
# Nothing here is protected from deletion by Google: whether something with data may go is for an
# approval of the plan to say, and a plan that was approved must do what it says. Two things it cannot
# do: a key ring and a key stay for ever, and only the key's versions are destroyed; and the name of a
# database's instance is not free again for a week. A tenant that comes back to a silo of the same
# region needs ring and key imported into its state, and that week.
#
# The services of the project (Cloud SQL, Cloud KMS, Secret Manager, Service Networking, Compute) and
# the service agents named below must be there.
data "google_project" "here" {}

data "google_storage_project_service_account" "here" {}

locals {
  # By the tenant's size: the database's machine, its disk in GB, and whether a second one stands by.
  sizes = {
    small  = { tier = "db-custom-1-3840", disk = 20, standby = false }
    medium = { tier = "db-custom-2-8192", disk = 100, standby = true }
    large  = { tier = "db-custom-4-26624", disk = 500, standby = true }
  }
  size = local.sizes[var.size]

  # No PostgreSQL name takes a dash, and no tenant's name has an underscore: still one name a tenant.
  database_name = replace(var.name, "-", "_")
}

resource "google_kms_key_ring" "tenant" {
  name     = var.name
  location = var.region

  lifecycle {
    precondition {
      condition     = can(regex("^[a-z]+-[a-z]+[0-9]{1,2}$", var.region))
      error_message = "region: not the name of a region of Google Cloud."
    }
  }
}

resource "google_kms_crypto_key" "tenant" {
  name                       = "tenant"
  key_ring                   = google_kms_key_ring.tenant.id
  purpose                    = "ENCRYPT_DECRYPT"
  rotation_period            = "7776000s"
  destroy_scheduled_duration = "2592000s"
  labels                     = var.labels
}

# Google's own services use the key for what the tenant has with them, and for nothing else.
resource "google_kms_crypto_key_iam_member" "service" {
  for_each = {
    database = "service-${data.google_project.here.number}@gcp-sa-cloud-sql.iam.gserviceaccount.com"
    secrets  = "service-${data.google_project.here.number}@gcp-sa-secretmanager.iam.gserviceaccount.com"
    storage  = data.google_storage_project_service_account.here.email_address
  }
  crypto_key_id = google_kms_crypto_key.tenant.id
  role          = "roles/cloudkms.cryptoKeyEncrypterDecrypter"
  member        = "serviceAccount:${each.value}"
}
