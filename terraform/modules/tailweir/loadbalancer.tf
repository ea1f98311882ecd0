# For senders outside of Google Cloud: the ingest as a backend of an Application Load Balancer. A serverless NEG has no health check, no
# capacity and no timeout: Cloud Run has its own.
locals {
  backend  = var.load_balancer != "none"
  external = var.load_balancer == "external"
}

resource "google_compute_region_network_endpoint_group" "ingest" {
  count                 = local.backend ? 1 : 0
  project               = var.project_id
  name                  = "${var.name}-ingest"
  region                = var.region
  network_endpoint_type = "SERVERLESS"
  cloud_run {
    service = google_cloud_run_v2_service.ingest.name
  }
  depends_on = [google_project_service.api]
}

resource "google_compute_backend_service" "ingest" {
  count                 = local.backend ? 1 : 0
  project               = var.project_id
  name                  = "${var.name}-ingest"
  description           = "Tailweir: OTLP"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  # End to end, for gRPC; OTLP over HTTP/1.1 comes through it as well, since the ingest's port speaks both. GRPC, which is in the
  # schema, is refused by the API for this scheme.
  protocol        = "HTTP2"
  security_policy = var.load_balancer_security_policy
  backend {
    group = google_compute_region_network_endpoint_group.ingest[0].id
  }
  # A line for each request would cost as much as the traces.
  log_config {
    enable = false
  }
}

resource "google_compute_global_address" "ingest" {
  count      = local.external ? 1 : 0
  project    = var.project_id
  name       = "${var.name}-ingest"
  labels     = var.labels
  depends_on = [google_project_service.api]
}

# The name has the domains in it: a certificate cannot be changed, and the new one must be there before the proxy lets the old one go.
resource "google_compute_managed_ssl_certificate" "ingest" {
  count   = local.external && length(var.load_balancer_domains) > 0 ? 1 : 0
  project = var.project_id
  name    = "${var.name}-ingest-${substr(sha256(join(",", var.load_balancer_domains)), 0, 8)}"
  managed {
    domains = var.load_balancer_domains
  }
  depends_on = [google_project_service.api]
  lifecycle {
    create_before_destroy = true
  }
}

resource "google_compute_ssl_policy" "ingest" {
  count           = local.external ? 1 : 0
  project         = var.project_id
  name            = "${var.name}-ingest"
  profile         = "MODERN"
  min_tls_version = "TLS_1_2"
  depends_on      = [google_project_service.api]
}

resource "google_compute_url_map" "ingest" {
  count           = local.external ? 1 : 0
  project         = var.project_id
  name            = "${var.name}-ingest"
  default_service = google_compute_backend_service.ingest[0].id
}

resource "google_compute_target_https_proxy" "ingest" {
  count            = local.external ? 1 : 0
  project          = var.project_id
  name             = "${var.name}-ingest"
  url_map          = google_compute_url_map.ingest[0].id
  ssl_certificates = length(var.load_balancer_domains) > 0 ? google_compute_managed_ssl_certificate.ingest[*].id : var.load_balancer_certificates
  ssl_policy       = google_compute_ssl_policy.ingest[0].id
}

# Port 443 alone. No redirect from 80: an exporter that was set to http:// would have sent its data in the clear before it is told.
resource "google_compute_global_forwarding_rule" "ingest" {
  count                 = local.external ? 1 : 0
  project               = var.project_id
  name                  = "${var.name}-ingest"
  load_balancing_scheme = "EXTERNAL_MANAGED"
  ip_address            = google_compute_global_address.ingest[0].id
  ip_protocol           = "TCP"
  port_range            = "443"
  target                = google_compute_target_https_proxy.ingest[0].id
  labels                = var.labels
}

resource "google_compute_router" "nat" {
  count   = var.create_nat ? 1 : 0
  project = var.project_id
  name    = "${var.name}-nat"
  region  = var.region
  network = google_compute_network.own[0].id
}

resource "google_compute_router_nat" "nat" {
  count                              = var.create_nat ? 1 : 0
  project                            = var.project_id
  name                               = "${var.name}-nat"
  region                             = var.region
  router                             = google_compute_router.nat[0].name
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"
  subnetwork {
    name                    = google_compute_subnetwork.own[0].id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }
  log_config {
    enable = true
    filter = "ERRORS_ONLY" # what was dropped for want of ports
  }
}

output "load_balancer" {
  description = "Of the load balancer: the address that load_balancer_domains must resolve to, the URL for senders, the serverless NEG and the backend service for a load balancer that you have. null where they are not made."
  value = {
    address         = one(google_compute_global_address.ingest[*].address)
    url             = local.external && length(var.load_balancer_domains) > 0 ? "https://${var.load_balancer_domains[0]}" : null
    neg             = one(google_compute_region_network_endpoint_group.ingest[*].id)
    backend_service = one(google_compute_backend_service.ingest[*].id)
  }
}
