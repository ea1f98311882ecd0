mock_provider "google" {}

variables {
  project_id     = "my-observability"
  project_number = "123456789012"
  region         = "europe-west1"
  image          = "europe-west1-docker.pkg.dev/my-observability/tailweir/tailweir:v1"
}

run "wiring" {
  assert {
    condition     = output.otlp_url == module.tailweir.otlp_url && output.otlp_url != null && output.app_environment.OTEL_EXPORTER_OTLP_ENDPOINT == output.otlp_url
    error_message = "apps are told where the ingest is"
  }
  assert {
    condition     = output.network.network != null && output.network.subnetwork != null
    error_message = "apps need a network to reach an internal ingest"
  }
  assert {
    condition     = output.image_repository == "europe-west1-docker.pkg.dev/my-observability/tailweir" && startswith(var.image, "${output.image_repository}/")
    error_message = "the image is in the registry that is made"
  }
  assert {
    condition     = module.tailweir.worker_name == "tailweir-worker" && strcontains(output.console, "tunnel-through-iap")
    error_message = "the workers are machines"
  }
}

run "nothing_to_scale_is_refused" {
  command = plan
  variables {
    mig_max_instances = 2
  }
  expect_failures = [var.mig_max_instances]
}
