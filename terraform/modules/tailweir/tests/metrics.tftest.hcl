# What metrics_forward adds, and that nothing of it is there without.
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

run "off" {
  assert {
    condition     = length(google_pubsub_topic.metrics) == 0 && length(google_pubsub_subscription.metrics) == 0
    error_message = "Without metrics_forward there is no topic of metrics."
  }
  assert {
    condition = (length(google_pubsub_topic_iam_member.ingest_publishes_metrics) == 0 && length(google_pubsub_subscription_iam_member.worker_pulls_metrics) == 0 &&
    length(google_pubsub_subscription_iam_member.agent_acks_metrics) == 0)
    error_message = "Without metrics_forward nobody is granted anything for them."
  }
  assert {
    condition     = !anytrue([for name in concat(keys(local.worker_env), keys(local.ingest_env)) : strcontains(name, "METRICS")])
    error_message = "Without metrics_forward no process is told of metrics."
  }
}

run "on" {
  variables {
    metrics_forward        = true
    name                   = "tw-staging"
    labels                 = { team = "sre" }
    storage_regions        = ["europe-west1", "europe-west4"]
    enforce_in_transit     = true
    ack_deadline_seconds   = 20
    subscription_retention = "86400s"
    max_delivery_attempts  = 50
    config                 = <<-YAML
      exporters:
      - {type: telemetry, signals: [traces, metrics]}
      - {type: cloudlogging}
      hold: {lease: 20s}
      fleet_timing: {death: 30s}
    YAML
  }
  assert {
    condition     = google_pubsub_topic.metrics[0].name == "tw-staging-metrics" && google_pubsub_subscription.metrics[0].name == "tw-staging-metrics-worker" && google_pubsub_subscription.metrics[0].topic == google_pubsub_topic.metrics[0].id
    error_message = "Topic and subscription must have the names that the processes are told."
  }
  assert {
    condition     = google_pubsub_topic.metrics[0].labels == tomap({ team = "sre" }) && google_pubsub_topic.metrics[0].message_storage_policy[0].allowed_persistence_regions == toset(["europe-west1", "europe-west4"]) && google_pubsub_topic.metrics[0].message_storage_policy[0].enforce_in_transit
    error_message = "Metrics are stored where payloads are."
  }
  assert {
    condition = (google_pubsub_subscription.metrics[0].ack_deadline_seconds == 20 && google_pubsub_subscription.metrics[0].message_retention_duration == "86400s" &&
      !google_pubsub_subscription.metrics[0].retain_acked_messages && !google_pubsub_subscription.metrics[0].enable_message_ordering && !google_pubsub_subscription.metrics[0].enable_exactly_once_delivery &&
    length(google_pubsub_subscription.metrics[0].retry_policy) == 0 && google_pubsub_subscription.metrics[0].expiration_policy[0].ttl == "" && google_pubsub_subscription.metrics[0].labels == tomap({ team = "sre" }))
    error_message = "The subscription of metrics is like that of payloads."
  }
  assert {
    condition     = google_pubsub_subscription.metrics[0].dead_letter_policy[0].dead_letter_topic == google_pubsub_topic.dead_letters.id && google_pubsub_subscription.metrics[0].dead_letter_policy[0].max_delivery_attempts == 50
    error_message = "What is delivered again and again becomes a dead letter."
  }
  assert {
    condition = (google_pubsub_topic_iam_member.ingest_publishes_metrics[0].member == google_service_account.ingest.member && google_pubsub_topic_iam_member.ingest_publishes_metrics[0].role == "roles/pubsub.publisher" &&
    google_pubsub_topic_iam_member.ingest_publishes_metrics[0].topic == "tw-staging-metrics")
    error_message = "The ingest may publish metrics, and nobody else."
  }
  assert {
    condition = (google_pubsub_subscription_iam_member.worker_pulls_metrics[0].member == google_service_account.worker.member && google_pubsub_subscription_iam_member.worker_pulls_metrics[0].role == "roles/pubsub.subscriber" &&
      google_pubsub_subscription_iam_member.worker_pulls_metrics[0].subscription == "tw-staging-metrics-worker" && google_pubsub_subscription_iam_member.agent_acks_metrics[0].member == local.pubsub_agent &&
    google_pubsub_subscription_iam_member.agent_acks_metrics[0].role == "roles/pubsub.subscriber" && google_pubsub_subscription_iam_member.agent_acks_metrics[0].subscription == "tw-staging-metrics-worker")
    error_message = "Workers pull metrics, and Pub/Sub's agent acks what it moves."
  }
  assert {
    condition = alltrue([for env in [local.worker_env, local.ingest_env] :
    env.TAILWEIR_METRICS_FORWARD == "true" && env.TAILWEIR_METRICS_TOPIC == "tw-staging-metrics" && env.TAILWEIR_METRICS_SUBSCRIPTION == "tw-staging-metrics-worker"])
    error_message = "Both processes must be told to forward metrics, and where."
  }
}

run "key" {
  variables {
    metrics_forward = true
    kms_key_name    = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"
  }
  assert {
    condition     = google_pubsub_topic.metrics[0].kms_key_name == "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"
    error_message = "Metrics are encrypted with the own key, too."
  }
}

run "no_exporter_takes_them" {
  command = plan
  variables {
    metrics_forward = true
    config          = "exporters: [{type: telemetry}, {type: cloudlogging}]"
  }
  expect_failures = [google_pubsub_topic.metrics[0]]
}
