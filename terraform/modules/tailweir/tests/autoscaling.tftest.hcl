# The worker pool with an autoscaler.
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

override_resource {
  target = google_service_account.scaler
  values = { email = "scaler@p.iam.gserviceaccount.com", member = "serviceAccount:scaler@p.iam.gserviceaccount.com" }
}

variables {
  project_id     = "my-observability"
  project_number = "123456789012"
  region         = "europe-west1"
  image          = "europe-west1-docker.pkg.dev/my-observability/tailweir/tailweir:v1"
}

run "pool" {
  variables {
    worker_autoscaling = { min = 2, max = 20 }
  }
  assert {
    condition     = (length(google_cloud_run_v2_worker_pool.worker) == 0 && length(google_cloud_run_v2_worker_pool.autoscaled) == 1 && output.worker_name == "tailweir-worker")
    error_message = "one pool, by the same name"
  }
  assert {
    condition     = (google_cloud_run_v2_worker_pool.autoscaled[0].scaling[0].manual_instance_count == 2 && google_cloud_run_v2_worker_pool.autoscaled[0].scaling[0].min_instance_count == null && google_cloud_run_v2_worker_pool.autoscaled[0].scaling[0].max_instance_count == null && google_cloud_run_v2_worker_pool.autoscaled[0].scaling[0].scaling_mode == null)
    error_message = "it begins with min, and has no bounds that the API does not know"
  }
  assert {
    condition     = (google_cloud_run_v2_worker_pool.autoscaled[0].template[0].service_account == "worker@p.iam.gserviceaccount.com" && google_cloud_run_v2_worker_pool.autoscaled[0].template[0].containers[0].image == var.image && google_cloud_run_v2_worker_pool.autoscaled[0].template[0].containers[0].startup_probe[0].http_get[0].path == "/readyz" && google_cloud_run_v2_worker_pool.autoscaled[0].template[0].containers[0].liveness_probe[0].http_get[0].path == "/healthz" && google_cloud_run_v2_worker_pool.autoscaled[0].deletion_protection)
    error_message = "the same workers"
  }
  assert {
    condition     = ({ for e in google_cloud_run_v2_worker_pool.autoscaled[0].template[0].containers[0].env : e.name => e.value }["TAILWEIR_SUBSCRIPTION"] == "tailweir-payloads-worker" && { for e in google_cloud_run_v2_worker_pool.autoscaled[0].template[0].containers[0].env : e.name => e.value }["GOMEMLIMIT"] == "1843MiB")
    error_message = "the same environment"
  }
}

run "autoscaler" {
  variables {
    worker_autoscaling = { min = 2, max = 20 }
  }
  assert {
    condition     = (google_cloud_run_v2_service.scaler[0].template[0].service_account == "scaler@p.iam.gserviceaccount.com" && google_cloud_run_v2_service.scaler[0].template[0].containers[0].image == "us-central1-docker.pkg.dev/cloud-run-oss-images/crema-v1/autoscaler:1.0" && google_cloud_run_v2_service.scaler[0].template[0].containers[0].base_image_uri == "us-central1-docker.pkg.dev/serverless-runtimes/google-24/runtimes/java25")
    error_message = "Google's image, on its base"
  }
  assert {
    condition     = (google_cloud_run_v2_service.scaler[0].ingress == "INGRESS_TRAFFIC_INTERNAL_ONLY" && !google_cloud_run_v2_service.scaler[0].invoker_iam_disabled && !google_cloud_run_v2_service.scaler[0].deletion_protection && google_cloud_run_v2_service.scaler[0].location == "europe-west1")
    error_message = "nobody calls it, and it may be switched off"
  }
  assert {
    condition     = (google_cloud_run_v2_service.scaler[0].scaling[0].scaling_mode == "MANUAL" && google_cloud_run_v2_service.scaler[0].scaling[0].manual_instance_count == 1 && !google_cloud_run_v2_service.scaler[0].template[0].containers[0].resources[0].cpu_idle)
    error_message = "one, always, with CPU between requests"
  }
  assert {
    condition     = ({ for e in google_cloud_run_v2_service.scaler[0].template[0].containers[0].env : e.name => e.value } == { CREMA_CONFIG = google_parameter_manager_parameter_version.scaler[0].name, OUTPUT_SCALER_METRICS = "False", ENABLE_CLOUD_LOGGING = "False" })
    error_message = "it reads this version of its configuration"
  }
  assert {
    condition     = (google_cloud_run_v2_worker_pool_iam_member.scaler_sets_count[0].role == "roles/run.developer" && google_cloud_run_v2_worker_pool_iam_member.scaler_sets_count[0].name == "tailweir-worker" && google_cloud_run_v2_worker_pool_iam_member.scaler_sets_count[0].member == "serviceAccount:scaler@p.iam.gserviceaccount.com")
    error_message = "it may change this pool"
  }
  assert {
    condition     = (google_service_account_iam_member.scaler_acts_as_worker[0].role == "roles/iam.serviceAccountUser" && google_service_account_iam_member.scaler_acts_as_worker[0].service_account_id == google_service_account.worker.name && google_service_account_iam_member.scaler_acts_as_worker[0].member == "serviceAccount:scaler@p.iam.gserviceaccount.com")
    error_message = "an update acts as the workers' account"
  }
  assert {
    condition     = (keys(google_project_iam_member.scaler_reads) == ["roles/monitoring.viewer", "roles/parametermanager.parameterViewer"] && alltrue([for r, m in google_project_iam_member.scaler_reads : m.role == r && m.member == "serviceAccount:scaler@p.iam.gserviceaccount.com" && m.project == "my-observability"]))
    error_message = "in the project it may read alone"
  }
  assert {
    condition     = (google_parameter_manager_parameter.scaler[0].format == "YAML" && google_parameter_manager_parameter_version.scaler[0].parameter == google_parameter_manager_parameter.scaler[0].id && can(regex("^v[0-9a-f]{12}$", google_parameter_manager_parameter_version.scaler[0].parameter_version_id)))
    error_message = "a version for each text"
  }
  assert {
    condition     = (length(setintersection(["monitoring.googleapis.com", "parametermanager.googleapis.com"], keys(google_project_service.api))) == 2)
    error_message = "the APIs that it needs"
  }
}

run "configuration" {
  variables {
    worker_autoscaling = { min = 2, max = 20 }
  }
  assert {
    condition     = (yamldecode(google_parameter_manager_parameter_version.scaler[0].parameter_data).spec.pollingInterval == 30 && length(yamldecode(google_parameter_manager_parameter_version.scaler[0].parameter_data).spec.scaledObjects) == 1 && yamldecode(google_parameter_manager_parameter_version.scaler[0].parameter_data).spec.scaledObjects[0].spec.scaleTargetRef.name == "projects/my-observability/locations/europe-west1/workerpools/tailweir-worker")
    error_message = "what it scales"
  }
  assert {
    condition     = (yamldecode(google_parameter_manager_parameter_version.scaler[0].parameter_data).spec.scaledObjects[0].spec.minReplicaCount == 2 && yamldecode(google_parameter_manager_parameter_version.scaler[0].parameter_data).spec.scaledObjects[0].spec.maxReplicaCount == 20)
    error_message = "its bounds"
  }
  assert {
    condition     = (yamldecode(google_parameter_manager_parameter_version.scaler[0].parameter_data).spec.scaledObjects[0].spec.triggers[0].type == "prometheus" && yamldecode(google_parameter_manager_parameter_version.scaler[0].parameter_data).spec.scaledObjects[0].spec.triggers[0].metricType == "AverageValue" && yamldecode(google_parameter_manager_parameter_version.scaler[0].parameter_data).spec.scaledObjects[0].spec.triggers[0].metadata == { serverAddress = "https://monitoring.googleapis.com/v1/projects/my-observability/location/global/prometheus", query = "sum(rate(pubsub_googleapis_com:topic_send_message_operation_count{monitored_resource=\"pubsub_topic\",topic_id=\"tailweir-payloads\"}[2m] offset 4m))", threshold = "408", ignoreNullValues = "false" })
    error_message = "the rate of publishing, one worker for each c messages a second"
  }
  assert {
    condition     = (yamldecode(google_parameter_manager_parameter_version.scaler[0].parameter_data).spec.scaledObjects[0].spec.triggers[0].authenticationRef.name == yamldecode(google_parameter_manager_parameter_version.scaler[0].parameter_data).spec.triggerAuthentications[0].metadata.name && yamldecode(google_parameter_manager_parameter_version.scaler[0].parameter_data).spec.triggerAuthentications[0].spec.podIdentity.provider == "gcp")
    error_message = "as its own account"
  }
  assert {
    condition     = (yamldecode(google_parameter_manager_parameter_version.scaler[0].parameter_data).spec.scaledObjects[0].spec.advanced.horizontalPodAutoscalerConfig.behavior.scaleUp == { stabilizationWindowSeconds = 0, policies = [{ type = "Pods", value = 20, periodSeconds = 60 }] } && yamldecode(google_parameter_manager_parameter_version.scaler[0].parameter_data).spec.scaledObjects[0].spec.advanced.horizontalPodAutoscalerConfig.behavior.scaleDown == { stabilizationWindowSeconds = 600, policies = [{ type = "Percent", value = 10, periodSeconds = 60 }, { type = "Pods", value = 1, periodSeconds = 60 }] })
    error_message = "out at once, in slowly"
  }
}

# The state is that of the run before, in which the number was 2: what the autoscaler has set is never set back.
run "the_number_is_anothers" {
  variables {
    worker_autoscaling = { min = 3, max = 40 }
  }
  assert {
    condition     = google_cloud_run_v2_worker_pool.autoscaled[0].scaling[0].manual_instance_count == 2
    error_message = "an apply must not change the number"
  }
}

run "as_set" {
  variables {
    worker_autoscaling           = { min = 3, max = 40, messages_per_second = 1200 }
    worker_autoscaler_image      = "europe-west1-docker.pkg.dev/p/own/crema:v1"
    worker_autoscaler_base_image = null
    labels                       = { team = "sre" }
    name                         = "staging"
    kms_key_name                 = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"
  }
  assert {
    condition     = (yamldecode(google_parameter_manager_parameter_version.scaler[0].parameter_data).spec.scaledObjects[0].spec.minReplicaCount == 3 && yamldecode(google_parameter_manager_parameter_version.scaler[0].parameter_data).spec.scaledObjects[0].spec.maxReplicaCount == 40 && yamldecode(google_parameter_manager_parameter_version.scaler[0].parameter_data).spec.scaledObjects[0].spec.triggers[0].metadata.threshold == "1200")
    error_message = "as set"
  }
  assert {
    condition     = (google_cloud_run_v2_service.scaler[0].template[0].containers[0].image == "europe-west1-docker.pkg.dev/p/own/crema:v1" && google_cloud_run_v2_service.scaler[0].template[0].containers[0].base_image_uri == null && google_cloud_run_v2_service.scaler[0].labels == tomap({ team = "sre", created-by = "crema" }) && google_cloud_run_v2_service.scaler[0].name == "staging-scaler" && google_cloud_run_v2_service.scaler[0].template[0].encryption_key == var.kms_key_name)
    error_message = "image, name and labels as set"
  }
}

run "threshold_of_a_large_hold" {
  command = plan
  variables {
    worker_autoscaling = { min = 2, max = 20 }
    worker_memory      = "4Gi"
    config             = "hold: {max_bytes: 2GiB}\n"
  }
  assert {
    condition     = (yamldecode(google_parameter_manager_parameter_version.scaler[0].parameter_data).spec.scaledObjects[0].spec.triggers[0].metadata.threshold == "1500")
    error_message = "0.6 of the CPU, where memory lasts: docs/scaling.md"
  }
}

run "threshold_of_the_example" {
  command = plan
  variables {
    worker_autoscaling = { min = 2, max = 20 }
    config             = "hold: {max_bytes: 1GiB}\n"
  }
  assert {
    condition     = (yamldecode(google_parameter_manager_parameter_version.scaler[0].parameter_data).spec.scaledObjects[0].spec.triggers[0].metadata.threshold == "816")
    error_message = "memory is the limit: 33 % of the CPU"
  }
}

run "threshold_of_a_long_window" {
  command = plan
  variables {
    worker_autoscaling = { min = 2, max = 20 }
    worker_cpu         = "2"
    config             = "hold: {max_bytes: 1GiB}\nwindow: {idle: 30s}\n"
  }
  assert {
    condition     = (yamldecode(google_parameter_manager_parameter_version.scaler[0].parameter_data).spec.scaledObjects[0].spec.triggers[0].metadata.threshold == "590")
    error_message = "what is held longer fills the memory earlier"
  }
}

run "none_by_default" {
  assert {
    condition     = (length(google_cloud_run_v2_worker_pool.autoscaled) == 0 && length(google_cloud_run_v2_worker_pool.worker) == 1 && length(google_cloud_run_v2_service.scaler) == 0 && length(google_service_account.scaler) == 0 && length(google_project_iam_member.scaler_reads) == 0 && !contains(keys(google_project_service.api), "parametermanager.googleapis.com"))
    error_message = "nothing of it without the switch"
  }
}

run "holds_must_fit_here_too" {
  command = plan
  variables {
    worker_autoscaling = { min = 2, max = 20 }
    config             = "hold: {max_bytes: 2GiB}\n"
  }
  expect_failures = [google_cloud_run_v2_worker_pool.autoscaled]
}

run "min_zero" {
  command = plan
  variables {
    worker_autoscaling = { min = 0, max = 5 }
  }
  expect_failures = [var.worker_autoscaling]
}

run "min_above_max" {
  command = plan
  variables {
    worker_autoscaling = { min = 6, max = 5 }
  }
  expect_failures = [var.worker_autoscaling]
}

run "max_101" {
  command = plan
  variables {
    worker_autoscaling = { min = 1, max = 101 }
  }
  expect_failures = [var.worker_autoscaling]
}

run "half_a_worker" {
  command = plan
  variables {
    worker_autoscaling = { min = 1.5, max = 5 }
  }
  expect_failures = [var.worker_autoscaling]
}

run "half_a_worker_at_most" {
  command = plan
  variables {
    worker_autoscaling = { min = 1, max = 5.5 }
  }
  expect_failures = [var.worker_autoscaling]
}

run "one_message" {
  command = plan
  variables {
    worker_autoscaling = { min = 1, max = 5, messages_per_second = 1 }
  }
  expect_failures = [var.worker_autoscaling]
}

run "million_messages" {
  command = plan
  variables {
    worker_autoscaling = { min = 1, max = 5, messages_per_second = 1000000 }
  }
  expect_failures = [var.worker_autoscaling]
}

run "machines_have_their_own" {
  command = plan
  variables {
    worker_autoscaling = { min = 2, max = 20 }
    worker_platform    = "mig"
    create_network     = true
  }
  expect_failures = [var.worker_autoscaling]
}

run "image_latest" {
  command = plan
  variables {
    worker_autoscaler_image = "us-central1-docker.pkg.dev/cloud-run-oss-images/crema-v1/autoscaler:latest"
  }
  expect_failures = [var.worker_autoscaler_image]
}

run "base_image_with_a_tag" {
  command = plan
  variables {
    worker_autoscaler_base_image = "us-central1-docker.pkg.dev/serverless-runtimes/google-24/runtimes/java25:1"
  }
  expect_failures = [var.worker_autoscaler_base_image]
}
