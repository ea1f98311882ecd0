# A network of its own, or one that exists, or none. Ingest and worker pool need none: Pub/Sub and the exporters' APIs are reached
# without. It is for apps that call an internal ingest, and for virtual machines.
locals {
  network    = var.create_network ? google_compute_network.own[0].id : var.network
  subnetwork = var.create_network ? google_compute_subnetwork.own[0].id : var.subnetwork
}

resource "google_compute_network" "own" {
  #checkov:skip=CKV2_GCP_18:There is nothing to let in with a worker pool; with machines the two rules below are there, and all else is denied by default.
  count                   = var.create_network ? 1 : 0
  project                 = var.project_id
  name                    = var.name
  auto_create_subnetworks = false
  depends_on              = [google_project_service.api]
}

# Private Google Access: without it neither a virtual machine without an external address nor an app with Direct VPC egress
# reaches a run.app URL, Pub/Sub or the registry.
resource "google_compute_subnetwork" "own" {
  #checkov:skip=CKV_GCP_26:Flow logs of a subnetwork that carries nothing but telemetry would cost more than they tell; bring a network of your own where they are a rule.
  count                    = var.create_network ? 1 : 0
  project                  = var.project_id
  name                     = "${var.name}-${var.region}"
  region                   = var.region
  network                  = google_compute_network.own[0].id
  ip_cidr_range            = var.subnetwork_cidr
  private_ip_google_access = true
}

# Google's health checkers ask /healthz from these two ranges. The console is on the machine's loopback, where no rule leads.
resource "google_compute_firewall" "health" {
  count     = local.mig && var.create_firewall ? 1 : 0
  project   = var.project_id
  name      = "${var.name}-worker-health"
  network   = local.network
  direction = "INGRESS"
  allow {
    protocol = "tcp"
    ports    = [tostring(local.admin_port)]
  }
  source_ranges           = ["130.211.0.0/22", "35.191.0.0/16"]
  target_service_accounts = [google_service_account.worker.email]
}

# SSH through Identity-Aware Proxy alone, for the tunnel to the console.
resource "google_compute_firewall" "tunnel" {
  count     = local.mig && var.create_firewall ? 1 : 0
  project   = var.project_id
  name      = "${var.name}-worker-tunnel"
  network   = local.network
  direction = "INGRESS"
  allow {
    protocol = "tcp"
    ports    = ["22"]
  }
  source_ranges           = ["35.235.240.0/20"]
  target_service_accounts = [google_service_account.worker.email]
}
