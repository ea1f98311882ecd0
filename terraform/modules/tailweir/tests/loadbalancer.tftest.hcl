# A load balancer before the ingest, and Cloud NAT.
mock_provider "google" {}

override_resource {
  target = google_service_account.ingest
  values = { email = "ingest@p.iam.gserviceaccount.com", member = "serviceAccount:ingest@p.iam.gserviceaccount.com" }
}
override_resource {
  target = google_service_account.worker
  values = { email = "worker@p.iam.gserviceaccount.com", member = "serviceAccount:worker@p.iam.gserviceaccount.com" }
}
override_resource {
  target = google_project_iam_custom_role.log_reader
  values = { id = "projects/p/roles/log_reader" }
}
override_resource {
  target = google_project_iam_custom_role.log_topic
  values = { id = "projects/p/roles/log_topic" }
}
override_resource {
  target = google_pubsub_topic.payloads
  values = { id = "projects/p/topics/payloads" }
}
override_resource {
  target = google_pubsub_topic.facts
  values = { id = "projects/p/topics/facts" }
}
override_resource {
  target = google_pubsub_topic.log
  values = { id = "projects/p/topics/log" }
}
override_resource {
  target = google_pubsub_topic.dead_letters
  values = { id = "projects/p/topics/dead" }
}
override_resource {
  target = google_cloud_run_v2_service.ingest
  values = { uri = "https://ingest.example.run.app" }
}

variables {
  project_id     = "my-observability"
  project_number = "123456789012"
  region         = "europe-west1"
  image          = "europe-west1-docker.pkg.dev/my-observability/tailweir/tailweir:v1"
}

run "none_by_default" {
  variables {
    create_network = true
  }
  assert {
    condition     = (length(google_compute_region_network_endpoint_group.ingest) == 0 && length(google_compute_backend_service.ingest) == 0 && length(google_compute_global_forwarding_rule.ingest) == 0 && length(google_compute_global_address.ingest) == 0 && length(google_compute_ssl_policy.ingest) == 0 && length(google_compute_router.nat) == 0 && length(google_compute_router_nat.nat) == 0)
    error_message = "nothing of it without the switches"
  }
  assert {
    condition     = (alltrue([for v in values(output.load_balancer) : v == null]))
    error_message = "nothing to say"
  }
}

run "backend" {
  variables {
    load_balancer  = "backend"
    ingest_ingress = "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"
  }
  assert {
    condition     = (google_compute_region_network_endpoint_group.ingest[0].network_endpoint_type == "SERVERLESS" && google_compute_region_network_endpoint_group.ingest[0].region == "europe-west1" && google_compute_region_network_endpoint_group.ingest[0].cloud_run[0].service == "tailweir-ingest")
    error_message = "the NEG leads to the ingest"
  }
  assert {
    condition     = (google_compute_backend_service.ingest[0].protocol == "HTTP2" && google_compute_backend_service.ingest[0].load_balancing_scheme == "EXTERNAL_MANAGED" && [for b in google_compute_backend_service.ingest[0].backend : b.group] == [google_compute_region_network_endpoint_group.ingest[0].id] && google_compute_backend_service.ingest[0].security_policy == null && !google_compute_backend_service.ingest[0].log_config[0].enable)
    error_message = "a backend that gRPC gets through"
  }
  assert {
    condition     = (length(google_compute_global_forwarding_rule.ingest) == 0 && length(google_compute_global_address.ingest) == 0 && length(google_compute_target_https_proxy.ingest) == 0)
    error_message = "nothing that listens"
  }
  assert {
    condition     = (output.load_balancer.address == null && output.load_balancer.url == null && output.load_balancer.neg == google_compute_region_network_endpoint_group.ingest[0].id && output.load_balancer.backend_service == google_compute_backend_service.ingest[0].id)
    error_message = "what your own load balancer needs"
  }
  assert {
    condition     = (contains(keys(google_project_service.api), "compute.googleapis.com"))
    error_message = "the API"
  }
}

run "external" {
  variables {
    load_balancer                 = "external"
    ingest_ingress                = "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"
    load_balancer_security_policy = "projects/my-observability/global/securityPolicies/offices"
    load_balancer_domains         = ["otlp.example.com", "otlp2.example.com"]
    labels                        = { team = "sre" }
  }
  assert {
    condition     = (google_compute_global_forwarding_rule.ingest[0].port_range == "443" && google_compute_global_forwarding_rule.ingest[0].ip_protocol == "TCP" && google_compute_global_forwarding_rule.ingest[0].load_balancing_scheme == "EXTERNAL_MANAGED" && google_compute_global_forwarding_rule.ingest[0].target == google_compute_target_https_proxy.ingest[0].id && google_compute_global_forwarding_rule.ingest[0].ip_address == google_compute_global_address.ingest[0].id)
    error_message = "HTTPS alone, on an address that stays"
  }
  assert {
    condition     = (google_compute_target_https_proxy.ingest[0].url_map == google_compute_url_map.ingest[0].id && google_compute_url_map.ingest[0].default_service == google_compute_backend_service.ingest[0].id && google_compute_target_https_proxy.ingest[0].ssl_certificates == tolist([google_compute_managed_ssl_certificate.ingest[0].id]) && google_compute_target_https_proxy.ingest[0].ssl_policy == google_compute_ssl_policy.ingest[0].id)
    error_message = "all goes to the ingest"
  }
  assert {
    condition     = (google_compute_managed_ssl_certificate.ingest[0].managed[0].domains == tolist(["otlp.example.com", "otlp2.example.com"]) && can(regex("^tailweir-ingest-[0-9a-f]{8}$", google_compute_managed_ssl_certificate.ingest[0].name)))
    error_message = "a certificate of these names"
  }
  assert {
    condition     = (google_compute_ssl_policy.ingest[0].min_tls_version == "TLS_1_2" && google_compute_ssl_policy.ingest[0].profile == "MODERN")
    error_message = "no old TLS"
  }
  assert {
    condition     = (google_compute_backend_service.ingest[0].security_policy == "projects/my-observability/global/securityPolicies/offices")
    error_message = "somebody says who may send"
  }
  assert {
    condition     = (output.load_balancer.url == "https://otlp.example.com" && output.load_balancer.address == google_compute_global_address.ingest[0].address)
    error_message = "what senders and the DNS need"
  }
  assert {
    condition     = (google_compute_global_address.ingest[0].labels == tomap({ team = "sre" }) && google_compute_global_forwarding_rule.ingest[0].labels == tomap({ team = "sre" }))
    error_message = "labels"
  }
}

run "own_certificate" {
  command = plan
  variables {
    load_balancer                 = "external"
    ingest_ingress                = "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"
    load_balancer_security_policy = "projects/my-observability/global/securityPolicies/offices"
    load_balancer_certificates    = ["projects/p/global/sslCertificates/otlp"]
  }
  assert {
    condition     = (google_compute_target_https_proxy.ingest[0].ssl_certificates == tolist(["projects/p/global/sslCertificates/otlp"]) && length(google_compute_managed_ssl_certificate.ingest) == 0 && output.load_balancer.url == null)
    error_message = "the certificate that is there"
  }
}

run "nat" {
  variables {
    create_network = true
    create_nat     = true
  }
  assert {
    condition     = (google_compute_router.nat[0].network == google_compute_network.own[0].id && google_compute_router_nat.nat[0].router == google_compute_router.nat[0].name && google_compute_router_nat.nat[0].region == "europe-west1" && google_compute_router.nat[0].region == "europe-west1")
    error_message = "on the network that is made"
  }
  assert {
    condition     = (google_compute_router_nat.nat[0].nat_ip_allocate_option == "AUTO_ONLY" && google_compute_router_nat.nat[0].source_subnetwork_ip_ranges_to_nat == "LIST_OF_SUBNETWORKS" && [for s in google_compute_router_nat.nat[0].subnetwork : s.name] == [google_compute_subnetwork.own[0].id] && google_compute_router_nat.nat[0].log_config[0].filter == "ERRORS_ONLY")
    error_message = "for this subnetwork alone"
  }
}

run "unknown_kind" {
  command = plan
  variables {
    load_balancer  = "internal"
    ingest_ingress = "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"
  }
  expect_failures = [var.load_balancer]
}

run "ingress_is_internal" {
  command = plan
  variables {
    load_balancer = "backend"
  }
  expect_failures = [var.load_balancer]
}

run "open_to_all" {
  command = plan
  variables {
    load_balancer         = "external"
    ingest_ingress        = "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"
    load_balancer_domains = ["otlp.example.com"]
  }
  expect_failures = [var.load_balancer]
}

run "domain_wildcard" {
  command = plan
  variables {
    load_balancer                 = "external"
    ingest_ingress                = "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"
    load_balancer_security_policy = "projects/my-observability/global/securityPolicies/offices"
    load_balancer_domains         = ["*.example.com"]
  }
  expect_failures = [var.load_balancer_domains]
}

run "domain_with_a_dot" {
  command = plan
  variables {
    load_balancer                 = "external"
    ingest_ingress                = "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"
    load_balancer_security_policy = "projects/my-observability/global/securityPolicies/offices"
    load_balancer_domains         = ["otlp.example.com."]
  }
  expect_failures = [var.load_balancer_domains]
}

run "keys_are_enough" {
  variables {
    load_balancer         = "external"
    ingest_ingress        = "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"
    load_balancer_domains = ["otlp.example.com"]
    ingest_auth           = ["keys"]
    ingest_keys           = "- {name: shop, hash: 'sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'}"
  }
  assert {
    condition     = google_compute_backend_service.ingest[0].security_policy == null
    error_message = "with keys the load balancer needs no policy of its own"
  }
}

run "no_certificate" {
  command = plan
  variables {
    load_balancer                 = "external"
    ingest_ingress                = "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"
    load_balancer_security_policy = "projects/my-observability/global/securityPolicies/offices"
  }
  expect_failures = [var.load_balancer_domains]
}

run "two_kinds_of_certificates" {
  command = plan
  variables {
    load_balancer                 = "external"
    ingest_ingress                = "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"
    load_balancer_security_policy = "projects/my-observability/global/securityPolicies/offices"
    load_balancer_domains         = ["otlp.example.com"]
    load_balancer_certificates    = ["projects/p/global/sslCertificates/otlp"]
  }
  expect_failures = [var.load_balancer_domains]
}

run "regional_certificate" {
  command = plan
  variables {
    load_balancer                 = "external"
    ingest_ingress                = "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER"
    load_balancer_security_policy = "projects/my-observability/global/securityPolicies/offices"
    load_balancer_certificates    = ["projects/p/regions/europe-west1/sslCertificates/otlp"]
  }
  expect_failures = [var.load_balancer_certificates]
}

run "policy_name_alone" {
  command = plan
  variables {
    load_balancer_security_policy = "offices"
  }
  expect_failures = [var.load_balancer_security_policy]
}

run "nat_of_others" {
  command = plan
  variables {
    create_nat = true
    network    = "projects/p/global/networks/n"
    subnetwork = "projects/p/regions/europe-west1/subnetworks/s"
  }
  expect_failures = [var.create_nat]
}
