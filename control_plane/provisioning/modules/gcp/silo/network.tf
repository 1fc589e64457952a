# A network without any way in: it has no firewall rule, and what no rule lets in is refused.
resource "google_compute_network" "tenant" {
  name                    = var.name
  description             = "The network of ${var.tenant_id}."
  auto_create_subnetworks = false
  routing_mode            = "REGIONAL"
}

# Where the tenant's own software runs; it reaches Google's services without a public address.
resource "google_compute_subnetwork" "workload" {
  name                     = var.name
  description              = "The workload of ${var.tenant_id}."
  network                  = google_compute_network.tenant.id
  region                   = var.region
  ip_cidr_range            = "10.0.0.0/24"
  private_ip_google_access = true
}

resource "google_compute_global_address" "services" {
  name          = "${var.name}-svc"
  description   = "What Google's services take of the network of ${var.tenant_id}."
  network       = google_compute_network.tenant.id
  purpose       = "VPC_PEERING"
  address_type  = "INTERNAL"
  prefix_length = 20
  labels        = var.labels
}

# Google keeps the other end for days after a database is gone, so it cannot be taken down with it; it
# goes with the network.
resource "google_service_networking_connection" "services" {
  network                 = google_compute_network.tenant.id
  service                 = "servicenetworking.googleapis.com"
  reserved_peering_ranges = [google_compute_global_address.services.name]
  deletion_policy         = "ABANDON"
}
