# What the defaults make. With the real provider the same file runs by `terraform init && terraform test`: mocks answer either way.
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

run "pubsub" {
  assert {
    condition = (google_pubsub_topic.payloads.name == "tailweir-payloads" && google_pubsub_topic.facts.name == "tailweir-facts" &&
      google_pubsub_topic.log.name == "tailweir-log" && google_pubsub_topic.dead_letters.name == "tailweir-deadletters" &&
      google_pubsub_subscription.payloads.name == "tailweir-payloads-worker" && google_pubsub_subscription.facts.name == "tailweir-facts-sequencer" &&
    google_pubsub_subscription.dead_letters.name == "tailweir-deadletters-keep")
    error_message = "names must be the defaults of docs/settings.md"
  }
  assert {
    condition     = alltrue([for s in [google_pubsub_subscription.payloads, google_pubsub_subscription.facts, google_pubsub_subscription.dead_letters] : !s.enable_message_ordering && !s.enable_exactly_once_delivery])
    error_message = "no subscription may be ordered or exactly-once: only those on the log are ordered, and workers make them"
  }
  assert {
    condition     = alltrue([for s in [google_pubsub_subscription.payloads, google_pubsub_subscription.facts, google_pubsub_subscription.dead_letters] : length(s.retry_policy) == 0])
    error_message = "a retry policy would delay what a leaving worker hands back"
  }
  assert {
    condition     = alltrue([for s in [google_pubsub_subscription.payloads, google_pubsub_subscription.facts, google_pubsub_subscription.dead_letters] : s.expiration_policy[0].ttl == ""])
    error_message = "subscriptions must never expire"
  }
  assert {
    condition     = alltrue([for s in [google_pubsub_subscription.payloads, google_pubsub_subscription.facts, google_pubsub_subscription.dead_letters] : !s.retain_acked_messages && length(s.push_config) == 0])
    error_message = "subscriptions are pulled, and what is acked is done"
  }
  assert {
    condition     = google_pubsub_subscription.payloads.ack_deadline_seconds == 10 && google_pubsub_subscription.facts.ack_deadline_seconds == 10 && google_pubsub_subscription.dead_letters.ack_deadline_seconds == 600
    error_message = "ack deadlines: 10 s like the lease, and 600 s where a person reads"
  }
  assert {
    condition     = google_pubsub_subscription.payloads.dead_letter_policy[0].max_delivery_attempts == 100 && google_pubsub_subscription.payloads.dead_letter_policy[0].dead_letter_topic == google_pubsub_topic.dead_letters.id
    error_message = "payloads need a dead-letter policy of 100 attempts on the dead-letter topic: workers read the attempt count"
  }
  assert {
    condition     = length(google_pubsub_subscription.facts.dead_letter_policy) == 0 && length(google_pubsub_subscription.dead_letters.dead_letter_policy) == 0
    error_message = "facts and dead letters have no dead letters of their own"
  }
  assert {
    condition     = google_pubsub_subscription.payloads.topic == google_pubsub_topic.payloads.id && google_pubsub_subscription.facts.topic == google_pubsub_topic.facts.id && google_pubsub_subscription.dead_letters.topic == google_pubsub_topic.dead_letters.id
    error_message = "each subscription must be on its topic"
  }
  assert {
    condition     = google_pubsub_subscription.payloads.message_retention_duration == "604800s" && google_pubsub_subscription.facts.message_retention_duration == "600s" && google_pubsub_subscription.dead_letters.message_retention_duration == "2678400s"
    error_message = "retention of subscriptions: 7 days, 10 minutes, 31 days"
  }
  assert {
    condition     = google_pubsub_topic.payloads.message_retention_duration == "86400s" && google_pubsub_topic.log.message_retention_duration == "660s"
    error_message = "retention of topics: a day of payloads, 11 minutes of the log"
  }
  assert {
    condition = alltrue([for t in [google_pubsub_topic.payloads, google_pubsub_topic.facts, google_pubsub_topic.log, google_pubsub_topic.dead_letters] :
    t.message_storage_policy[0].allowed_persistence_regions == toset(["europe-west1"]) && !t.message_storage_policy[0].enforce_in_transit && t.kms_key_name == null && t.project == "my-observability"])
    error_message = "messages stay in the region"
  }
}

run "ingest" {
  assert {
    condition     = google_cloud_run_v2_service.ingest.ingress == "INGRESS_TRAFFIC_INTERNAL_ONLY" && google_cloud_run_v2_service.ingest.invoker_iam_disabled && google_cloud_run_v2_service.ingest.deletion_protection
    error_message = "internal, without an identity token, protected"
  }
  assert {
    condition     = google_cloud_run_v2_service.ingest.location == "europe-west1" && google_cloud_run_v2_service.ingest.name == "tailweir-ingest" && google_cloud_run_v2_service.ingest.project == "my-observability"
    error_message = "the ingest is in the region"
  }
  assert {
    condition = (google_cloud_run_v2_service.ingest.template[0].containers[0].ports[0].name == "h2c" &&
    google_cloud_run_v2_service.ingest.template[0].containers[0].ports[0].container_port == 4318)
    error_message = "gRPC and HTTP on one port need h2c"
  }
  assert {
    condition = (google_cloud_run_v2_service.ingest.template[0].containers[0].startup_probe[0].grpc[0].port == 4318 &&
      google_cloud_run_v2_service.ingest.template[0].containers[0].liveness_probe[0].grpc[0].port == 4318 &&
      length(google_cloud_run_v2_service.ingest.template[0].containers[0].startup_probe[0].http_get) == 0 &&
    google_cloud_run_v2_service.ingest.template[0].containers[0].startup_probe[0].period_seconds * google_cloud_run_v2_service.ingest.template[0].containers[0].startup_probe[0].failure_threshold <= 240)
    error_message = "probes are gRPC on the one port, and a startup ends within 240 s"
  }
  assert {
    condition     = !google_cloud_run_v2_service.ingest.template[0].containers[0].resources[0].cpu_idle && google_cloud_run_v2_service.ingest.template[0].containers[0].resources[0].startup_cpu_boost
    error_message = "the ingest has CPU between requests: publishes are confirmed there"
  }
  assert {
    condition     = google_cloud_run_v2_service.ingest.template[0].containers[0].resources[0].limits == tomap({ cpu = "1", memory = "1Gi" })
    error_message = "CPU and memory as set"
  }
  assert {
    condition     = google_cloud_run_v2_service.ingest.template[0].scaling[0].min_instance_count == 1 && google_cloud_run_v2_service.ingest.template[0].scaling[0].max_instance_count == 10
    error_message = "one instance is always there"
  }
  assert {
    condition     = google_cloud_run_v2_service.ingest.template[0].max_instance_request_concurrency == 250 && google_cloud_run_v2_service.ingest.template[0].timeout == "30s" && google_cloud_run_v2_service.ingest.template[0].execution_environment == "EXECUTION_ENVIRONMENT_GEN2"
    error_message = "requests of an instance, and how long one may take"
  }
  assert {
    condition     = google_cloud_run_v2_service.ingest.template[0].service_account == "ingest@p.iam.gserviceaccount.com"
    error_message = "the ingest runs as its own account"
  }
  assert {
    condition     = google_cloud_run_v2_service.ingest.template[0].containers[0].image == "europe-west1-docker.pkg.dev/my-observability/tailweir/tailweir:v1" && google_cloud_run_v2_service.ingest.template[0].containers[0].command == tolist(["/tailweir", "ingest"])
    error_message = "the ingest of the image"
  }
  assert {
    condition     = { for e in google_cloud_run_v2_service.ingest.template[0].containers[0].env : e.name => e.value } == { GOOGLE_CLOUD_PROJECT = "my-observability", TAILWEIR_TOPIC = "tailweir-payloads", TAILWEIR_AUTH = "none" }
    error_message = "the ingest knows the project and the payload topic, that nobody is asked, and no more"
  }
  assert {
    condition     = length(google_cloud_run_v2_service.ingest.template[0].volumes) == 0 && length(google_cloud_run_v2_service.ingest.template[0].vpc_access) == 0 && length(google_cloud_run_v2_service_iam_member.invoker) == 0
    error_message = "no file, no network and no invoker unless asked for"
  }
  assert {
    condition     = output.otlp_url == "https://ingest.example.run.app" && output.app_environment == { OTEL_EXPORTER_OTLP_ENDPOINT = "https://ingest.example.run.app", OTEL_EXPORTER_OTLP_PROTOCOL = "http/protobuf", OTEL_TRACES_SAMPLER = "always_on", OTEL_EXPORTER_OTLP_COMPRESSION = "gzip" }
    error_message = "apps are told the URL, and to record everything"
  }
}

run "worker_pool" {
  assert {
    condition = (google_cloud_run_v2_worker_pool.worker[0].scaling[0].manual_instance_count == 2 &&
      google_cloud_run_v2_worker_pool.worker[0].scaling[0].min_instance_count == null &&
      google_cloud_run_v2_worker_pool.worker[0].scaling[0].max_instance_count == null &&
    google_cloud_run_v2_worker_pool.worker[0].scaling[0].scaling_mode == null)
    error_message = "a manual count alone: the API knows neither mode nor bounds"
  }
  assert {
    condition     = google_cloud_run_v2_worker_pool.worker[0].location == "europe-west1" && google_cloud_run_v2_worker_pool.worker[0].name == "tailweir-worker" && google_cloud_run_v2_worker_pool.worker[0].deletion_protection && output.worker_name == "tailweir-worker"
    error_message = "the pool is in the region, protected"
  }
  assert {
    condition     = google_cloud_run_v2_worker_pool.worker[0].template[0].service_account == "worker@p.iam.gserviceaccount.com"
    error_message = "workers run as their own account"
  }
  assert {
    condition     = google_cloud_run_v2_worker_pool.worker[0].template[0].containers[0].image == "europe-west1-docker.pkg.dev/my-observability/tailweir/tailweir:v1" && google_cloud_run_v2_worker_pool.worker[0].template[0].containers[0].command == tolist(["/tailweir", "worker"])
    error_message = "the worker of the image"
  }
  assert {
    condition = { for e in google_cloud_run_v2_worker_pool.worker[0].template[0].containers[0].env : e.name => e.value } == {
      GOMEMLIMIT                  = "1843MiB"
      GOOGLE_CLOUD_PROJECT        = "my-observability"
      TAILWEIR_CONFIG             = "/etc/tailweir/worker.yaml"
      TAILWEIR_TOPIC              = "tailweir-payloads"
      TAILWEIR_SUBSCRIPTION       = "tailweir-payloads-worker"
      TAILWEIR_DEAD_LETTER_TOPIC  = "tailweir-deadletters"
      TAILWEIR_FACTS_TOPIC        = "tailweir-facts"
      TAILWEIR_FACTS_SUBSCRIPTION = "tailweir-facts-sequencer"
      TAILWEIR_LOG_TOPIC          = "tailweir-log"
      TAILWEIR_LOG_PREFIX         = "tailweir-log-"
      TAILWEIR_ADMIN              = ":8081"
    }
    error_message = "workers know every object"
  }
  assert {
    condition     = google_cloud_run_v2_worker_pool.worker[0].template[0].containers[0].resources[0].limits == tomap({ cpu = "1", memory = "2Gi" })
    error_message = "CPU and memory as set"
  }
  assert {
    condition = (google_cloud_run_v2_worker_pool.worker[0].template[0].containers[0].startup_probe[0].http_get[0].path == "/readyz" &&
      google_cloud_run_v2_worker_pool.worker[0].template[0].containers[0].startup_probe[0].http_get[0].port == 8081 &&
      google_cloud_run_v2_worker_pool.worker[0].template[0].containers[0].startup_probe[0].period_seconds * google_cloud_run_v2_worker_pool.worker[0].template[0].containers[0].startup_probe[0].failure_threshold <= 240 &&
    google_cloud_run_v2_worker_pool.worker[0].template[0].containers[0].startup_probe[0].period_seconds * google_cloud_run_v2_worker_pool.worker[0].template[0].containers[0].startup_probe[0].failure_threshold >= 60)
    error_message = "started is ready, within what Cloud Run allows, and with time for a first claim"
  }
  assert {
    condition = (google_cloud_run_v2_worker_pool.worker[0].template[0].containers[0].liveness_probe[0].http_get[0].path == "/healthz" &&
    google_cloud_run_v2_worker_pool.worker[0].template[0].containers[0].liveness_probe[0].http_get[0].port == 8081)
    error_message = "a worker that waits for Pub/Sub must not be restarted"
  }
  assert {
    condition = (google_cloud_run_v2_worker_pool.worker[0].template[0].containers[0].volume_mounts[0].mount_path == "/etc/tailweir" &&
      google_cloud_run_v2_worker_pool.worker[0].template[0].containers[0].volume_mounts[0].name == google_cloud_run_v2_worker_pool.worker[0].template[0].volumes[0].name &&
      google_cloud_run_v2_worker_pool.worker[0].template[0].volumes[0].secret[0].secret == "tailweir-worker-config" &&
      google_cloud_run_v2_worker_pool.worker[0].template[0].volumes[0].secret[0].items[0].path == "worker.yaml" &&
    google_cloud_run_v2_worker_pool.worker[0].template[0].volumes[0].secret[0].items[0].version == google_secret_manager_secret_version.config["worker"].version)
    error_message = "the workers' file is the secret's version, where TAILWEIR_CONFIG says"
  }
  assert {
    condition     = length(google_compute_instance_template.worker) == 0 && length(google_compute_region_instance_group_manager.worker) == 0 && length(google_compute_region_autoscaler.worker) == 0 && length(google_compute_firewall.health) == 0 && length(google_compute_firewall.tunnel) == 0 && length(google_compute_health_check.worker) == 0
    error_message = "no machines beside the pool"
  }
  assert {
    condition     = strcontains(output.console, "tailweir fleet --project my-observability")
    error_message = "a pool has no console to reach"
  }
}

run "accounts" {
  assert {
    condition = (google_pubsub_topic_iam_member.ingest_publishes_payloads.role == "roles/pubsub.publisher" &&
      google_pubsub_topic_iam_member.ingest_publishes_payloads.topic == "tailweir-payloads" &&
    google_pubsub_topic_iam_member.ingest_publishes_payloads.member == "serviceAccount:ingest@p.iam.gserviceaccount.com")
    error_message = "the ingest publishes payloads"
  }
  assert {
    condition = !contains(concat(
      [for m in google_pubsub_topic_iam_member.worker_publishes : m.member],
      [for m in google_pubsub_subscription_iam_member.worker_pulls : m.member],
      [for m in google_project_iam_member.worker_writes_traces : m.member],
      [for m in google_project_iam_member.worker_writes_logs : m.member],
      [for m in google_project_iam_member.worker_uses_quota : m.member],
      [google_project_iam_member.worker_reads_log.member, google_pubsub_topic_iam_member.worker_log.member,
      google_pubsub_topic_iam_member.agent_publishes_dead_letters.member, google_pubsub_subscription_iam_member.agent_acks_payloads.member],
    ), "serviceAccount:ingest@p.iam.gserviceaccount.com")
    error_message = "the ingest may publish payloads, and nothing else"
  }
  assert {
    condition     = { for k, m in google_pubsub_topic_iam_member.worker_publishes : m.topic => m.role } == { tailweir-payloads = "roles/pubsub.publisher", tailweir-facts = "roles/pubsub.publisher", tailweir-deadletters = "roles/pubsub.publisher" }
    error_message = "workers publish ticks, facts and dead letters"
  }
  assert {
    condition     = { for k, m in google_pubsub_subscription_iam_member.worker_pulls : m.subscription => m.role } == { tailweir-payloads-worker = "roles/pubsub.subscriber", tailweir-facts-sequencer = "roles/pubsub.subscriber" }
    error_message = "workers pull payloads and facts, and not the dead letters"
  }
  assert {
    condition     = alltrue([for m in concat(values(google_pubsub_topic_iam_member.worker_publishes), [google_pubsub_topic_iam_member.worker_log]) : m.member == "serviceAccount:worker@p.iam.gserviceaccount.com"]) && alltrue([for m in google_pubsub_subscription_iam_member.worker_pulls : m.member == "serviceAccount:worker@p.iam.gserviceaccount.com"])
    error_message = "the workers' grants are the workers'"
  }
  assert {
    condition     = google_project_iam_custom_role.log_reader.permissions == toset(["pubsub.subscriptions.create", "pubsub.subscriptions.get", "pubsub.subscriptions.consume", "pubsub.subscriptions.delete"]) && google_project_iam_custom_role.log_topic.permissions == toset(["pubsub.topics.attachSubscription", "pubsub.topics.get", "pubsub.topics.publish"])
    error_message = "the custom roles are those of docs/fleet.md, no more and no less"
  }
  assert {
    condition     = google_project_iam_custom_role.log_reader.role_id == "tailweir_log_reader" && google_project_iam_custom_role.log_topic.role_id == "tailweir_log_topic"
    error_message = "the custom roles have names of their own"
  }
  assert {
    condition     = google_project_iam_member.worker_reads_log.role == "projects/p/roles/log_reader" && google_project_iam_member.worker_reads_log.member == "serviceAccount:worker@p.iam.gserviceaccount.com" && google_pubsub_topic_iam_member.worker_log.role == "projects/p/roles/log_topic" && google_pubsub_topic_iam_member.worker_log.topic == "tailweir-log"
    error_message = "the custom roles are granted to the workers: one in the project, one on the log topic"
  }
  assert {
    condition = (google_pubsub_topic_iam_member.agent_publishes_dead_letters.member == "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com" &&
      google_pubsub_topic_iam_member.agent_publishes_dead_letters.topic == "tailweir-deadletters" && google_pubsub_topic_iam_member.agent_publishes_dead_letters.role == "roles/pubsub.publisher" &&
      google_pubsub_subscription_iam_member.agent_acks_payloads.member == "serviceAccount:service-123456789012@gcp-sa-pubsub.iam.gserviceaccount.com" &&
    google_pubsub_subscription_iam_member.agent_acks_payloads.subscription == "tailweir-payloads-worker" && google_pubsub_subscription_iam_member.agent_acks_payloads.role == "roles/pubsub.subscriber")
    error_message = "Pub/Sub's agent needs both: publish on the dead-letter topic, ack on the payloads' subscription"
  }
  assert {
    condition = (keys(google_project_iam_member.worker_writes_traces) == ["my-observability"] && google_project_iam_member.worker_writes_traces["my-observability"].role == "roles/telemetry.writer" &&
      keys(google_project_iam_member.worker_writes_logs) == ["my-observability"] && google_project_iam_member.worker_writes_logs["my-observability"].role == "roles/logging.logWriter" &&
    google_project_iam_member.worker_uses_quota[0].role == "roles/serviceusage.serviceUsageConsumer" && google_project_iam_member.worker_uses_quota[0].project == "my-observability")
    error_message = "workers write traces and logs in their project"
  }
  assert {
    condition = alltrue([for role in concat(
      [for m in google_project_iam_member.worker_writes_traces : m.role], [for m in google_project_iam_member.worker_writes_logs : m.role],
      [for m in google_project_iam_member.worker_uses_quota : m.role], [google_project_iam_member.worker_reads_log.role],
      [for m in google_pubsub_topic_iam_member.worker_publishes : m.role], [for m in google_pubsub_subscription_iam_member.worker_pulls : m.role],
      [for m in google_secret_manager_secret_iam_member.config : m.role],
    ) : !can(regex("(owner|editor|viewer|[aA]dmin)$", role))])
    error_message = "nobody has owner, editor, viewer or an admin role"
  }
  assert {
    condition     = keys(google_secret_manager_secret_iam_member.config) == ["worker"] && google_secret_manager_secret_iam_member.config["worker"].member == "serviceAccount:worker@p.iam.gserviceaccount.com" && google_secret_manager_secret_iam_member.config["worker"].role == "roles/secretmanager.secretAccessor" && google_secret_manager_secret_iam_member.config["worker"].secret_id == "tailweir-worker-config"
    error_message = "workers read their file, the ingest does not"
  }
  assert {
    condition     = google_service_account.ingest.account_id == "tailweir-ingest" && google_service_account.worker.account_id == "tailweir-worker" && output.service_accounts == { ingest = "ingest@p.iam.gserviceaccount.com", worker = "worker@p.iam.gserviceaccount.com" }
    error_message = "two accounts"
  }
  assert {
    condition     = length(google_kms_crypto_key_iam_member.agent) == 0
    error_message = "no grants on keys without a key"
  }
}

run "the_rest" {
  assert {
    condition     = toset(keys(google_project_service.api)) == toset(["artifactregistry.googleapis.com", "cloudtrace.googleapis.com", "iam.googleapis.com", "logging.googleapis.com", "pubsub.googleapis.com", "run.googleapis.com", "secretmanager.googleapis.com", "telemetry.googleapis.com"])
    error_message = "every API that is needed is enabled, and no other"
  }
  assert {
    condition     = alltrue([for a in google_project_service.api : !a.disable_on_destroy && a.project == "my-observability"])
    error_message = "an API stays on: others may use it"
  }
  assert {
    condition     = google_artifact_registry_repository.images[0].format == "DOCKER" && google_artifact_registry_repository.images[0].location == "europe-west1" && google_artifact_registry_repository.images[0].docker_config[0].immutable_tags && length(google_artifact_registry_repository_iam_member.worker_pulls) == 0
    error_message = "a registry in the region whose tags stay what they are"
  }
  assert {
    condition     = [for p in google_artifact_registry_repository.images[0].cleanup_policies : p.most_recent_versions[0].keep_count if p.action == "KEEP"] == [20] && [for p in google_artifact_registry_repository.images[0].cleanup_policies : p.condition[0].older_than if p.action == "DELETE"] == ["7776000s"]
    error_message = "old images go, the latest 20 stay for a rollback"
  }
  assert {
    condition     = output.image_repository == "europe-west1-docker.pkg.dev/my-observability/tailweir"
    error_message = "where to push"
  }
  assert {
    condition     = length(google_compute_network.own) == 0 && length(google_compute_subnetwork.own) == 0 && output.network.network == null && output.network.subnetwork == null
    error_message = "no network unless asked for"
  }
  assert {
    condition     = google_secret_manager_secret.config["worker"].secret_id == "tailweir-worker-config" && google_secret_manager_secret.config["worker"].replication[0].user_managed[0].replicas[0].location == "europe-west1" && google_secret_manager_secret_version.config["worker"].deletion_policy == "ABANDON" && google_secret_manager_secret_version.config["worker"].secret == google_secret_manager_secret.config["worker"].id
    error_message = "the file is a secret in the region, whose old versions stay"
  }
  assert {
    condition     = google_secret_manager_secret_version.config["worker"].secret_data == null && google_secret_manager_secret_version.config["worker"].secret_data_wo == null
    error_message = "the file is in no state: it is written by a write-only attribute"
  }
  assert {
    condition     = local.worker_file == "# Everything is the default.\n"
    error_message = "a secret may not be empty"
  }
  assert {
    condition     = output.topics == { payloads = "tailweir-payloads", facts = "tailweir-facts", log = "tailweir-log", dead_letters = "tailweir-deadletters" } && output.subscriptions == { payloads = "tailweir-payloads-worker", facts = "tailweir-facts-sequencer", dead_letters = "tailweir-deadletters-keep" } && output.ingest_service == "tailweir-ingest" && output.worker_environment.TAILWEIR_LOG_TOPIC == "tailweir-log"
    error_message = "outputs name what was made"
  }
}
