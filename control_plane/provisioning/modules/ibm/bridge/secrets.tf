# Where the tenant's software finds its login. The group is made here; the secret in it is written from
# outside, because whatever the provider writes there it keeps in the state.
resource "ibm_sm_secret_group" "tenant" {
  instance_id = var.shared.secrets_manager_id
  region      = var.region
  name        = var.name
  description = "The secrets of ${var.tenant_id}."
}
