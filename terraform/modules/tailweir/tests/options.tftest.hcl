# What each variable changes.
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

run "own_file" {
  variables {
    config               = <<-YAML
      # the team's own
      policies:
      - {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}
      logs: {keep: with_trace, always_above: off}
      hold: {lease: 20s, max_bytes: 1.1 GB}
      fleet_timing: {death: 1m2s, replay: 20m}
      window: {max_bytes: 300000000}
      shutdown: 9s
    YAML
    ack_deadline_seconds = 20
    log_retention        = "1260s"
  }
  assert {
    condition     = startswith(local.worker_file, "# the team's own\npolicies:\n- {name: errors") && strcontains(local.worker_file, "always_above: off") && endswith(local.worker_file, "\nshutdown: 9s\n")
    error_message = "the workers get the text as it is"
  }
  assert {
    condition     = local.durations == { death = 62, replay = 1200, lease = 20, shutdown = 9 }
    error_message = "durations of the file are read as Go reads them"
  }
  assert {
    condition     = local.sizes == { hold = 1100000000, window = 300000000 }
    error_message = "sizes of the file are read as workers read them"
  }
  assert {
    condition     = google_pubsub_subscription.payloads.ack_deadline_seconds == 20 && google_pubsub_topic.log.message_retention_duration == "1260s"
    error_message = "deadline and retention as set"
  }
  assert {
    condition     = google_secret_manager_secret_version.config["worker"].secret_data_wo_version == parseint(substr(sha256(local.worker_file), 0, 12), 16)
    error_message = "another text is another version"
  }
}

run "defaults_of_durations" {
  assert {
    condition     = local.durations == { death = 12, replay = 600, lease = 10, shutdown = 8 }
    error_message = "what the file does not say is the default of docs/settings.md"
  }
  assert {
    condition     = local.sizes == { hold = 536870912, window = 268435456 }
    error_message = "sizes, too"
  }
}

run "file_of_the_ingest" {
  variables {
    ingest_config = "ingest: {max_body: 4MB}\nshutdown: 9s\n"
  }
  assert {
    condition = (google_cloud_run_v2_service.ingest.template[0].volumes[0].secret[0].secret == "tailweir-ingest-config" &&
      google_cloud_run_v2_service.ingest.template[0].volumes[0].secret[0].items[0].path == "ingest.yaml" &&
      google_cloud_run_v2_service.ingest.template[0].volumes[0].secret[0].items[0].version == google_secret_manager_secret_version.config["ingest"].version &&
    google_cloud_run_v2_service.ingest.template[0].containers[0].volume_mounts[0].mount_path == "/etc/tailweir")
    error_message = "the ingest's file is mounted"
  }
  assert {
    condition     = { for e in google_cloud_run_v2_service.ingest.template[0].containers[0].env : e.name => e.value }["TAILWEIR_CONFIG"] == "/etc/tailweir/ingest.yaml"
    error_message = "and the ingest is told where"
  }
  assert {
    condition     = google_secret_manager_secret_iam_member.config["ingest"].member == "serviceAccount:ingest@p.iam.gserviceaccount.com" && google_secret_manager_secret_iam_member.config["worker"].member == "serviceAccount:worker@p.iam.gserviceaccount.com" && google_secret_manager_secret_iam_member.config["ingest"].secret_id == "tailweir-ingest-config"
    error_message = "each process reads its own file only"
  }
}

run "keys_of_the_ingest" {
  variables {
    ingest_auth    = ["keys"]
    ingest_keys    = "- {name: shop, hash: 'sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'}\n"
    ingest_ingress = "INGRESS_TRAFFIC_ALL"
  }
  assert {
    condition = (google_cloud_run_v2_service.ingest.template[0].volumes[0].secret[0].secret == "tailweir-ingest-keys-config" &&
      google_cloud_run_v2_service.ingest.template[0].volumes[0].secret[0].items[0].path == "keys.yaml" &&
      google_cloud_run_v2_service.ingest.template[0].volumes[0].secret[0].items[0].version == "latest" &&
      google_cloud_run_v2_service.ingest.template[0].containers[0].volume_mounts[0].name == google_cloud_run_v2_service.ingest.template[0].volumes[0].name &&
    google_cloud_run_v2_service.ingest.template[0].containers[0].volume_mounts[0].mount_path == "/etc/tailweir-keys")
    error_message = "the keys are mounted, whatever version is the latest"
  }
  assert {
    condition     = { for e in google_cloud_run_v2_service.ingest.template[0].containers[0].env : e.name => e.value } == { GOOGLE_CLOUD_PROJECT = "my-observability", TAILWEIR_TOPIC = "tailweir-payloads", TAILWEIR_KEYS = "/etc/tailweir-keys/keys.yaml" }
    error_message = "and the ingest is told where, and asks"
  }
  assert {
    condition     = google_secret_manager_secret_iam_member.config["ingest-keys"].member == "serviceAccount:ingest@p.iam.gserviceaccount.com" && google_secret_manager_secret_iam_member.config["ingest-keys"].secret_id == "tailweir-ingest-keys-config"
    error_message = "the ingest alone reads them"
  }
  assert {
    condition     = google_secret_manager_secret_version.config["ingest-keys"].secret_data_wo_version == parseint(substr(sha256(var.ingest_keys), 0, 12), 16)
    error_message = "other keys are another version"
  }
  assert {
    condition     = google_cloud_run_v2_service.ingest.ingress == "INGRESS_TRAFFIC_ALL" && google_cloud_run_v2_service.ingest.invoker_iam_disabled
    error_message = "with keys the ingest may be open to the internet"
  }
}

run "key_of_redaction" {
  variables {
    ingest_redact_key = "tailweir-redact-key/versions/3"
    ingest_config     = "ingest: {redact: {sets: [{name: email, action: hash}]}}"
  }
  assert {
    condition = [for e in google_cloud_run_v2_service.ingest.template[0].containers[0].env : [e.value_source[0].secret_key_ref[0].secret, e.value_source[0].secret_key_ref[0].version]
    if e.name == "TAILWEIR_REDACT_KEY"] == [["tailweir-redact-key", "3"]]
    error_message = "the ingest gets the key by its secret, in the version that is named"
  }
  assert {
    condition     = google_secret_manager_secret_iam_member.redact_key[0].secret_id == "tailweir-redact-key" && google_secret_manager_secret_iam_member.redact_key[0].member == google_service_account.ingest.member && google_secret_manager_secret_iam_member.redact_key[0].role == "roles/secretmanager.secretAccessor"
    error_message = "the ingest alone reads it"
  }
}

run "tokens_and_keys" {
  variables {
    ingest_auth   = ["google", "keys"]
    ingest_keys   = "- {name: shop, hash: 'sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'}\n"
    ingest_config = "ingest: {auth: {google: {audiences: [https://tailweir.example], accounts: ['*@shop.iam.gserviceaccount.com']}}}"
  }
  assert {
    condition     = length(google_cloud_run_v2_service.ingest.template[0].volumes) == 2 && length(google_cloud_run_v2_service.ingest.template[0].containers[0].volume_mounts) == 2
    error_message = "file and keys are two volumes"
  }
  assert {
    condition     = toset([for e in google_cloud_run_v2_service.ingest.template[0].containers[0].env : e.name]) == toset(["GOOGLE_CLOUD_PROJECT", "TAILWEIR_TOPIC", "TAILWEIR_KEYS", "TAILWEIR_CONFIG"])
    error_message = "both are asked for"
  }
}

run "tokens_alone" {
  variables {
    ingest_auth    = ["google"]
    ingest_config  = "ingest: {auth: {google: {audiences: [https://tailweir.example], accounts: ['*@shop.iam.gserviceaccount.com']}}}"
    ingest_ingress = "INGRESS_TRAFFIC_ALL"
  }
  assert {
    condition     = toset([for e in google_cloud_run_v2_service.ingest.template[0].containers[0].env : e.name]) == toset(["GOOGLE_CLOUD_PROJECT", "TAILWEIR_TOPIC", "TAILWEIR_CONFIG"]) && length(google_cloud_run_v2_service.ingest.template[0].volumes) == 1
    error_message = "tokens need the file alone"
  }
}

run "encrypted" {
  variables {
    kms_key_name = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"
  }
  assert {
    condition     = alltrue([for t in [google_pubsub_topic.payloads, google_pubsub_topic.facts, google_pubsub_topic.log, google_pubsub_topic.dead_letters] : t.kms_key_name == var.kms_key_name])
    error_message = "every topic is encrypted with the key"
  }
  assert {
    condition = (google_cloud_run_v2_service.ingest.template[0].encryption_key == var.kms_key_name && google_cloud_run_v2_worker_pool.worker[0].template[0].encryption_key == var.kms_key_name &&
      google_artifact_registry_repository.images[0].kms_key_name == var.kms_key_name &&
    google_secret_manager_secret.config["worker"].replication[0].user_managed[0].replicas[0].customer_managed_encryption[0].kms_key_name == var.kms_key_name)
    error_message = "revisions, images and files, too"
  }
  assert {
    condition = toset([for m in google_kms_crypto_key_iam_member.agent : m.member]) == toset([for a in ["gcp-sa-pubsub", "gcp-sa-secretmanager", "gcp-sa-artifactregistry", "serverless-robot-prod"] :
    "serviceAccount:service-123456789012@${a}.iam.gserviceaccount.com"]) && alltrue([for m in google_kms_crypto_key_iam_member.agent : m.role == "roles/cloudkms.cryptoKeyEncrypterDecrypter" && m.crypto_key_id == var.kms_key_name])
    error_message = "the agents of those services may use the key"
  }
}

run "invokers" {
  variables {
    ingest_ingress     = "INGRESS_TRAFFIC_ALL"
    ingest_invoker_iam = true
    ingest_invokers    = ["serviceAccount:shop@my-observability.iam.gserviceaccount.com"]
  }
  assert {
    condition     = google_cloud_run_v2_service.ingest.ingress == "INGRESS_TRAFFIC_ALL" && !google_cloud_run_v2_service.ingest.invoker_iam_disabled
    error_message = "open to the internet with identity tokens only"
  }
  assert {
    condition     = [for m in google_cloud_run_v2_service_iam_member.invoker : [m.name, m.role, m.member, m.location]] == [["tailweir-ingest", "roles/run.invoker", "serviceAccount:shop@my-observability.iam.gserviceaccount.com", "europe-west1"]]
    error_message = "those who may call it"
  }
}

run "own_network" {
  variables {
    create_network = true
    attach_vpc     = true
  }
  assert {
    condition     = !google_compute_network.own[0].auto_create_subnetworks && google_compute_subnetwork.own[0].private_ip_google_access && google_compute_subnetwork.own[0].region == "europe-west1" && google_compute_subnetwork.own[0].ip_cidr_range == "10.40.0.0/24" && google_compute_subnetwork.own[0].network == google_compute_network.own[0].id
    error_message = "a subnetwork with Private Google Access, or nobody in it reaches Google's APIs"
  }
  assert {
    condition = (google_cloud_run_v2_service.ingest.template[0].vpc_access[0].egress == "PRIVATE_RANGES_ONLY" && google_cloud_run_v2_worker_pool.worker[0].template[0].vpc_access[0].egress == "PRIVATE_RANGES_ONLY" &&
      google_cloud_run_v2_service.ingest.template[0].vpc_access[0].network_interfaces[0].subnetwork == google_compute_subnetwork.own[0].id &&
    google_cloud_run_v2_worker_pool.worker[0].template[0].vpc_access[0].network_interfaces[0].network == google_compute_network.own[0].id)
    error_message = "ingest and workers are in the network, for private addresses alone"
  }
  assert {
    condition     = contains(keys(google_project_service.api), "compute.googleapis.com") && output.network == { network = google_compute_network.own[0].id, subnetwork = google_compute_subnetwork.own[0].id }
    error_message = "a network needs Compute Engine's API"
  }
}

run "elsewhere" {
  variables {
    worker_platform  = "none"
    create_registry  = false
    enable_apis      = false
    google_exporters = false
  }
  assert {
    condition     = length(google_cloud_run_v2_worker_pool.worker) == 0 && length(google_compute_instance_template.worker) == 0 && output.worker_name == "" && length(google_artifact_registry_repository.images) == 0 && output.image_repository == "" && length(google_project_service.api) == 0
    error_message = "no workers, no registry, no APIs"
  }
  assert {
    condition     = length(google_project_iam_member.worker_writes_traces) == 0 && length(google_project_iam_member.worker_uses_quota) == 0 && keys(google_project_iam_member.worker_writes_logs) == ["my-observability"]
    error_message = "without Google's exporters no roles for them, but for the process's own log"
  }
}

run "apis_without_googles_exporters" {
  variables {
    google_exporters = false
  }
  assert {
    condition     = !contains(keys(google_project_service.api), "telemetry.googleapis.com") && contains(keys(google_project_service.api), "pubsub.googleapis.com")
    error_message = "without Google's exporters not their APIs"
  }
}

run "routes" {
  variables {
    export_projects = ["acme-traces"]
    quota_project   = "acme-quota"
  }
  assert {
    condition     = toset(keys(google_project_iam_member.worker_writes_traces)) == toset(["acme-traces", "my-observability"]) && toset(keys(google_project_iam_member.worker_writes_logs)) == toset(["acme-traces", "my-observability"]) && google_project_iam_member.worker_writes_traces["acme-traces"].project == "acme-traces" && google_project_iam_member.worker_writes_logs["acme-traces"].project == "acme-traces"
    error_message = "workers may write where routes lead"
  }
  assert {
    condition     = google_project_iam_member.worker_uses_quota[0].project == "acme-quota"
    error_message = "quota is counted where it is set"
  }
}

run "numbers_and_names" {
  variables {
    name                   = "staging"
    topic                  = "in-payloads"
    subscription           = "in-pull"
    dead_letter_topic      = "in-dead"
    facts_topic            = "in-facts"
    facts_subscription     = "in-facts-pull"
    log_topic              = "in-log"
    log_prefix             = "in-log-of-"
    storage_regions        = ["europe-west1", "europe-west4"]
    enforce_in_transit     = true
    topic_retention        = null
    subscription_retention = "86400s"
    dead_letter_retention  = "86400s"
    max_delivery_attempts  = 50
    ingest_min_instances   = 2
    ingest_max_instances   = 3
    ingest_concurrency     = 80
    ingest_cpu             = "2"
    ingest_memory          = "512Mi"
    ingest_cpu_always      = false
    ingest_command         = ["/ko-app/ingest"]
    worker_instances       = 5
    worker_cpu             = "4"
    worker_memory          = "16Gi"
    worker_command         = ["/ko-app/worker", "--create"]
    deletion_protection    = false
    labels                 = { team = "sre" }
  }
  assert {
    condition = (google_pubsub_topic.payloads.name == "in-payloads" && google_pubsub_subscription.payloads.name == "in-pull" && google_pubsub_topic.dead_letters.name == "in-dead" &&
      google_pubsub_subscription.dead_letters.name == "in-dead-keep" && google_pubsub_topic.facts.name == "in-facts" && google_pubsub_subscription.facts.name == "in-facts-pull" &&
    google_pubsub_topic.log.name == "in-log" && output.worker_environment.TAILWEIR_LOG_PREFIX == "in-log-of-")
    error_message = "names as set"
  }
  assert {
    condition = (google_pubsub_topic.payloads.message_storage_policy[0].allowed_persistence_regions == toset(["europe-west1", "europe-west4"]) && alltrue([for t in [google_pubsub_topic.payloads, google_pubsub_topic.facts, google_pubsub_topic.log, google_pubsub_topic.dead_letters] : t.message_storage_policy[0].enforce_in_transit]) &&
      google_pubsub_topic.facts.message_storage_policy[0].allowed_persistence_regions == toset(["europe-west1", "europe-west4"]) && google_pubsub_topic.dead_letters.message_storage_policy[0].allowed_persistence_regions == toset(["europe-west1", "europe-west4"]) &&
    google_pubsub_topic.log.message_storage_policy[0].allowed_persistence_regions == toset(["europe-west1"]))
    error_message = "the log stays in the workers' region whatever the others do"
  }
  assert {
    condition     = google_pubsub_topic.payloads.message_retention_duration == null && google_pubsub_subscription.payloads.message_retention_duration == "86400s" && google_pubsub_subscription.dead_letters.message_retention_duration == "86400s" && google_pubsub_subscription.payloads.dead_letter_policy[0].max_delivery_attempts == 50
    error_message = "retention and attempts as set"
  }
  assert {
    condition = (google_cloud_run_v2_service.ingest.name == "staging-ingest" && google_cloud_run_v2_service.ingest.template[0].scaling[0].min_instance_count == 2 && google_cloud_run_v2_service.ingest.template[0].scaling[0].max_instance_count == 3 &&
      google_cloud_run_v2_service.ingest.template[0].max_instance_request_concurrency == 80 && google_cloud_run_v2_service.ingest.template[0].containers[0].resources[0].cpu_idle &&
      google_cloud_run_v2_service.ingest.template[0].containers[0].resources[0].limits == tomap({ cpu = "2", memory = "512Mi" }) && google_cloud_run_v2_service.ingest.template[0].containers[0].command == tolist(["/ko-app/ingest"]) &&
    !google_cloud_run_v2_service.ingest.deletion_protection)
    error_message = "the ingest as set"
  }
  assert {
    condition = (google_cloud_run_v2_worker_pool.worker[0].name == "staging-worker" && google_cloud_run_v2_worker_pool.worker[0].scaling[0].manual_instance_count == 5 && !google_cloud_run_v2_worker_pool.worker[0].deletion_protection &&
      google_cloud_run_v2_worker_pool.worker[0].template[0].containers[0].resources[0].limits == tomap({ cpu = "4", memory = "16Gi" }) && google_cloud_run_v2_worker_pool.worker[0].template[0].containers[0].command == tolist(["/ko-app/worker", "--create"]) &&
    { for e in google_cloud_run_v2_worker_pool.worker[0].template[0].containers[0].env : e.name => e.value }["GOMEMLIMIT"] == "14745MiB")
    error_message = "the pool as set"
  }
  assert {
    condition     = google_service_account.ingest.account_id == "staging-ingest" && google_project_iam_custom_role.log_reader.role_id == "staging_log_reader" && google_artifact_registry_repository.images[0].repository_id == "staging"
    error_message = "a second fleet in the project has names of its own"
  }
  assert {
    condition     = google_pubsub_topic.payloads.labels == tomap({ team = "sre" }) && google_pubsub_subscription.payloads.labels == tomap({ team = "sre" }) && google_cloud_run_v2_service.ingest.labels == tomap({ team = "sre" }) && google_cloud_run_v2_worker_pool.worker[0].labels == tomap({ team = "sre" })
    error_message = "labels are on everything"
  }
}
