# Each value that is refused, and by which variable or resource. One name in expect_failures: nothing else may object.
mock_provider "google" {}

variables {
  project_id     = "my-observability"
  project_number = "123456789012"
  region         = "europe-west1"
  image          = "europe-west1-docker.pkg.dev/my-observability/tailweir/tailweir:v1"
}

run "project_id_a_number" {
  command = plan
  variables {
    project_id = "123456789012"
  }
  expect_failures = [var.project_id]
}

run "project_id_upper_case" {
  command = plan
  variables {
    project_id = "My-Project"
  }
  expect_failures = [var.project_id]
}

run "project_number_an_id" {
  command = plan
  variables {
    project_number = "my-observability"
  }
  expect_failures = [var.project_number]
}

run "region_a_zone" {
  command = plan
  variables {
    region = "europe-west1-b"
  }
  expect_failures = [var.region]
}

run "region_multi_region" {
  command = plan
  variables {
    region = "eu"
  }
  expect_failures = [var.region]
}

run "image_no_host" {
  command = plan
  variables {
    image = "tailweir:v1"
  }
  expect_failures = [var.image]
}

run "image_no_tag" {
  command = plan
  variables {
    image = "europe-west1-docker.pkg.dev/p/tailweir/tailweir"
  }
  expect_failures = [var.image]
}

run "image_latest" {
  command = plan
  variables {
    image = "europe-west1-docker.pkg.dev/p/tailweir/tailweir:latest"
  }
  expect_failures = [var.image]
}

run "image_short_digest" {
  command = plan
  variables {
    image = "europe-west1-docker.pkg.dev/p/tailweir/tailweir@sha256:abc"
  }
  expect_failures = [var.image]
}

run "name_too_long" {
  command = plan
  variables {
    name = "tailweir-for-everybody-here"
  }
  expect_failures = [var.name]
}

run "name_underscore" {
  command = plan
  variables {
    name = "tail_weir"
  }
  expect_failures = [var.name]
}

run "name_goog" {
  command = plan
  variables {
    name = "googler"
  }
  expect_failures = [var.name]
}

run "labels_upper_case_key" {
  command = plan
  variables {
    labels = { Team = "sre" }
  }
  expect_failures = [var.labels]
}

run "labels_blank_in_value" {
  command = plan
  variables {
    labels = { team = "s r e" }
  }
  expect_failures = [var.labels]
}

run "topic_slash" {
  command = plan
  variables {
    topic = "projects/p/topics/t"
  }
  expect_failures = [var.topic]
}

run "topic_goog" {
  command = plan
  variables {
    topic = "goog-payloads"
  }
  expect_failures = [var.topic]
}

run "dead_letter_topic_slash" {
  command = plan
  variables {
    dead_letter_topic = "projects/p/topics/t"
  }
  expect_failures = [var.dead_letter_topic]
}

run "dead_letter_topic_goog" {
  command = plan
  variables {
    dead_letter_topic = "goog-payloads"
  }
  expect_failures = [var.dead_letter_topic]
}

run "facts_topic_slash" {
  command = plan
  variables {
    facts_topic = "projects/p/topics/t"
  }
  expect_failures = [var.facts_topic]
}

run "facts_topic_goog" {
  command = plan
  variables {
    facts_topic = "goog-payloads"
  }
  expect_failures = [var.facts_topic]
}

run "log_topic_slash" {
  command = plan
  variables {
    log_topic = "projects/p/topics/t"
  }
  expect_failures = [var.log_topic]
}

run "log_topic_goog" {
  command = plan
  variables {
    log_topic = "goog-payloads"
  }
  expect_failures = [var.log_topic]
}

run "subscription_slash" {
  command = plan
  variables {
    subscription = "projects/p/topics/t"
  }
  expect_failures = [var.subscription]
}

run "subscription_goog" {
  command = plan
  variables {
    subscription = "goog-payloads"
  }
  expect_failures = [var.subscription]
}

run "facts_subscription_slash" {
  command = plan
  variables {
    facts_subscription = "projects/p/topics/t"
  }
  expect_failures = [var.facts_subscription]
}

run "facts_subscription_goog" {
  command = plan
  variables {
    facts_subscription = "goog-payloads"
  }
  expect_failures = [var.facts_subscription]
}

run "log_prefix_too_short" {
  command = plan
  variables {
    log_prefix = "l"
  }
  expect_failures = [var.log_prefix]
}

run "log_prefix_goog" {
  command = plan
  variables {
    log_prefix = "Google-log-"
  }
  expect_failures = [var.log_prefix]
}

run "storage_regions_empty" {
  command = plan
  variables {
    storage_regions = []
  }
  expect_failures = [var.storage_regions]
}

run "storage_regions_a_zone" {
  command = plan
  variables {
    storage_regions = ["europe-west1", "europe-west4-a"]
  }
  expect_failures = [var.storage_regions]
}

run "storage_regions_another_region" {
  command = plan
  variables {
    storage_regions = ["europe-west4"]
  }
  expect_failures = [var.storage_regions]
}

run "topic_retention_days" {
  command = plan
  variables {
    topic_retention = "7d"
  }
  expect_failures = [var.topic_retention]
}

run "topic_retention_too_long" {
  command = plan
  variables {
    topic_retention = "2678401s"
  }
  expect_failures = [var.topic_retention]
}

run "topic_retention_too_short" {
  command = plan
  variables {
    topic_retention = "599s"
  }
  expect_failures = [var.topic_retention]
}

run "subscription_retention_too_short" {
  command = plan
  variables {
    subscription_retention = "86399s"
  }
  expect_failures = [var.subscription_retention]
}

run "subscription_retention_too_long" {
  command = plan
  variables {
    subscription_retention = "2678401s"
  }
  expect_failures = [var.subscription_retention]
}

run "subscription_retention_hours" {
  command = plan
  variables {
    subscription_retention = "168h"
  }
  expect_failures = [var.subscription_retention]
}

run "log_retention_too_short" {
  command = plan
  variables {
    log_retention = "599s"
  }
  expect_failures = [var.log_retention]
}

run "log_retention_too_long" {
  command = plan
  variables {
    log_retention = "3601s"
  }
  expect_failures = [var.log_retention]
}

run "dead_letter_retention_too_short" {
  command = plan
  variables {
    dead_letter_retention = "600s"
  }
  expect_failures = [var.dead_letter_retention]
}

run "dead_letter_retention_too_long" {
  command = plan
  variables {
    dead_letter_retention = "2678401s"
  }
  expect_failures = [var.dead_letter_retention]
}

run "ack_deadline_seconds_too_short" {
  command = plan
  variables {
    ack_deadline_seconds = 9
  }
  expect_failures = [var.ack_deadline_seconds]
}

run "ack_deadline_seconds_too_long" {
  command = plan
  variables {
    ack_deadline_seconds = 601
  }
  expect_failures = [var.ack_deadline_seconds]
}

run "ack_deadline_seconds_fraction" {
  command = plan
  variables {
    ack_deadline_seconds = 10.5
  }
  expect_failures = [var.ack_deadline_seconds]
}

run "max_delivery_attempts_too_few" {
  command = plan
  variables {
    max_delivery_attempts = 5
  }
  expect_failures = [var.max_delivery_attempts]
}

run "max_delivery_attempts_too_many" {
  command = plan
  variables {
    max_delivery_attempts = 101
  }
  expect_failures = [var.max_delivery_attempts]
}

run "kms_key_name_a_version" {
  command = plan
  variables {
    kms_key_name = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k/cryptoKeyVersions/1"
  }
  expect_failures = [var.kms_key_name]
}

run "kms_key_name_other_location" {
  command = plan
  variables {
    kms_key_name = "projects/p/locations/global/keyRings/r/cryptoKeys/k"
  }
  expect_failures = [var.kms_key_name]
}

run "ingest_ingress_unknown" {
  command = plan
  variables {
    ingest_ingress = "internal"
  }
  expect_failures = [var.ingest_ingress]
}

run "ingest_ingress_open" {
  command = plan
  variables {
    ingest_ingress = "INGRESS_TRAFFIC_ALL"
  }
  expect_failures = [var.ingest_ingress]
}

run "ingest_auth_unknown" {
  command = plan
  variables {
    ingest_auth = ["key"]
  }
  expect_failures = [var.ingest_auth]
}

run "ingest_auth_none_and_keys" {
  command = plan
  variables {
    ingest_auth = ["none", "keys"]
    ingest_keys = "- {name: shop, hash: 'sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'}"
  }
  expect_failures = [var.ingest_auth]
}

run "ingest_auth_google_without_accounts" {
  command = plan
  variables {
    ingest_auth = ["google"]
  }
  expect_failures = [var.ingest_auth]
}

run "ingest_auth_google_unasked" {
  command = plan
  variables {
    ingest_config = "ingest: {auth: {google: {audiences: [a], accounts: [a@b]}}}"
  }
  expect_failures = [var.ingest_auth]
}

run "ingest_keys_missing" {
  command = plan
  variables {
    ingest_auth = ["keys"]
  }
  expect_failures = [var.ingest_keys]
}

run "ingest_keys_unasked" {
  command = plan
  variables {
    ingest_keys = "- {name: shop, hash: 'sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'}"
  }
  expect_failures = [var.ingest_keys]
}

run "ingest_keys_a_key" {
  command = plan
  variables {
    ingest_auth = ["keys"]
    ingest_keys = "- {name: shop, hash: tailweir_aaaa}"
  }
  expect_failures = [var.ingest_keys]
}

run "ingest_keys_no_list" {
  command = plan
  variables {
    ingest_auth = ["keys"]
    ingest_keys = "shop"
  }
  expect_failures = [var.ingest_keys]
}

run "ingest_keys_too_long" {
  command = plan
  variables {
    ingest_auth = ["keys"]
    ingest_keys = "- {name: shop, hash: 'sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef'}\n#${join("", [for i in range(1000) : "0123456789012345678901234567890123456789012345678901234567890123456789"])}"
  }
  expect_failures = [var.ingest_keys]
}

run "ingest_redact_key_latest" {
  command = plan
  variables {
    ingest_redact_key = "tailweir-redact-key/versions/latest"
  }
  expect_failures = [var.ingest_redact_key]
}

run "ingest_config_with_keys" {
  command = plan
  variables {
    ingest_config = "ingest: {auth: {keys: /etc/keys.yaml}}"
  }
  expect_failures = [var.ingest_config]
}

run "ingest_config_with_none" {
  command = plan
  variables {
    ingest_config = "ingest: {auth: {none: true}}"
  }
  expect_failures = [var.ingest_config]
}

run "ingest_invokers_all_users" {
  command = plan
  variables {
    ingest_invoker_iam = true
    ingest_invokers    = ["allUsers"]
  }
  expect_failures = [var.ingest_invokers]
}

run "ingest_invokers_all_authenticated" {
  command = plan
  variables {
    ingest_invoker_iam = true
    ingest_invokers    = ["allAuthenticatedUsers"]
  }
  expect_failures = [var.ingest_invokers]
}

run "ingest_invokers_without_the_check" {
  command = plan
  variables {
    ingest_invokers = ["user:a@example.com"]
  }
  expect_failures = [var.ingest_invokers]
}

run "ingest_min_instances_negative" {
  command = plan
  variables {
    ingest_min_instances = -1
  }
  expect_failures = [var.ingest_min_instances]
}

run "ingest_max_instances_none" {
  command = plan
  variables {
    ingest_min_instances = 0
    ingest_max_instances = 0
  }
  expect_failures = [var.ingest_max_instances]
}

run "ingest_max_instances_too_many" {
  command = plan
  variables {
    ingest_max_instances = 1001
  }
  expect_failures = [var.ingest_max_instances]
}

run "ingest_max_instances_below_min" {
  command = plan
  variables {
    ingest_min_instances = 3
    ingest_max_instances = 2
  }
  expect_failures = [var.ingest_max_instances]
}

run "ingest_concurrency_too_many" {
  command = plan
  variables {
    ingest_concurrency = 1001
  }
  expect_failures = [var.ingest_concurrency]
}

run "ingest_concurrency_none" {
  command = plan
  variables {
    ingest_concurrency = 0
  }
  expect_failures = [var.ingest_concurrency]
}

run "ingest_cpu_three" {
  command = plan
  variables {
    ingest_cpu = "3"
  }
  expect_failures = [var.ingest_cpu]
}

run "ingest_memory_unit" {
  command = plan
  variables {
    ingest_memory = "1GB"
  }
  expect_failures = [var.ingest_memory]
}

run "ingest_memory_too_little" {
  command = plan
  variables {
    ingest_memory = "256Mi"
  }
  expect_failures = [var.ingest_memory]
}

run "ingest_memory_too_much_for_one_cpu" {
  command = plan
  variables {
    ingest_memory = "8Gi"
  }
  expect_failures = [var.ingest_memory]
}

run "ingest_memory_too_little_for_four_cpu" {
  command = plan
  variables {
    ingest_cpu    = "4"
    ingest_memory = "1Gi"
  }
  expect_failures = [var.ingest_memory]
}

run "ingest_command_empty" {
  command = plan
  variables {
    ingest_command = []
  }
  expect_failures = [var.ingest_command]
}

run "ingest_command_blank" {
  command = plan
  variables {
    ingest_command = ["/ingest --create"]
  }
  expect_failures = [var.ingest_command]
}

run "worker_cpu_three" {
  command = plan
  variables {
    worker_cpu = "3"
  }
  expect_failures = [var.worker_cpu]
}

run "worker_memory_unit" {
  command = plan
  variables {
    worker_memory = "1GB"
  }
  expect_failures = [var.worker_memory]
}

run "worker_memory_too_little" {
  command = plan
  variables {
    worker_memory = "256Mi"
  }
  expect_failures = [var.worker_memory]
}

run "worker_memory_too_much_for_one_cpu" {
  command = plan
  variables {
    worker_memory = "8Gi"
  }
  expect_failures = [var.worker_memory]
}

run "worker_memory_too_little_for_four_cpu" {
  command = plan
  variables {
    worker_cpu    = "4"
    worker_memory = "1Gi"
  }
  expect_failures = [var.worker_memory]
}

run "worker_command_empty" {
  command = plan
  variables {
    worker_command = []
  }
  expect_failures = [var.worker_command]
}

run "worker_command_blank" {
  command = plan
  variables {
    worker_command = ["/worker --create"]
  }
  expect_failures = [var.worker_command]
}

run "ingest_config_no_map" {
  command = plan
  variables {
    ingest_config = "- a\n"
  }
  expect_failures = [var.ingest_config]
}

run "ingest_config_exporters" {
  command = plan
  variables {
    ingest_config = "exporters: []\n"
  }
  expect_failures = [var.ingest_config]
}

run "ingest_config_listen" {
  command = plan
  variables {
    ingest_config = "ingest: {listen: [\":1\"]}\n"
  }
  expect_failures = [var.ingest_config]
}

run "worker_platform_unknown" {
  command = plan
  variables {
    worker_platform = "gke"
  }
  expect_failures = [var.worker_platform]
}

run "config_no_yaml" {
  command = plan
  variables {
    config = "a: [\n"
  }
  expect_failures = [var.config]
}

run "config_no_map" {
  command = plan
  variables {
    config = "- a\n"
  }
  expect_failures = [var.config]
}

run "config_worker" {
  command = plan
  variables {
    config = "worker: {admin: \":1\"}\n"
  }
  expect_failures = [var.config]
}

run "config_project" {
  command = plan
  variables {
    config = "project: p\n"
  }
  expect_failures = [var.config]
}

run "config_misspelt" {
  command = plan
  variables {
    config = "polices: []\n"
  }
  expect_failures = [var.config]
}

run "config_fleet_off" {
  command = plan
  variables {
    config = "fleet: off\n"
  }
  expect_failures = [var.config]
}

run "config_too_long" {
  command = plan
  variables {
    config = "shutdown: 8s\n# ${join("", [for i in range(1000) : "12345678901234567890123456789012345678901234567890123456789012345678"])}\n"
  }
  expect_failures = [var.config]
}

run "worker_instances_too_many" {
  command = plan
  variables {
    worker_instances = 101
  }
  expect_failures = [var.worker_instances]
}

run "worker_instances_fraction" {
  command = plan
  variables {
    worker_instances = 1.5
  }
  expect_failures = [var.worker_instances]
}

run "export_projects_a_number" {
  command = plan
  variables {
    export_projects = ["123"]
  }
  expect_failures = [var.export_projects]
}

run "export_projects_without_exporters" {
  command = plan
  variables {
    google_exporters = false
    export_projects  = ["acme-traces"]
  }
  expect_failures = [var.export_projects]
}

run "quota_project_upper_case" {
  command = plan
  variables {
    quota_project = "Acme"
  }
  expect_failures = [var.quota_project]
}

run "mig_machine_type_tiny" {
  command = plan
  variables {
    mig_machine_type = "e2-micro"
  }
  expect_failures = [var.mig_machine_type]
}

run "mig_machine_type_no_type" {
  command = plan
  variables {
    mig_machine_type = "large"
  }
  expect_failures = [var.mig_machine_type]
}

run "mig_boot_image_debian" {
  command = plan
  variables {
    mig_boot_image = "projects/debian-cloud/global/images/family/debian-12"
  }
  expect_failures = [var.mig_boot_image]
}

run "mig_min_instances_none" {
  command = plan
  variables {
    mig_min_instances = 0
  }
  expect_failures = [var.mig_min_instances]
}

run "mig_max_instances_too_many" {
  command = plan
  variables {
    mig_max_instances = 101
  }
  expect_failures = [var.mig_max_instances]
}

run "mig_max_instances_below_min" {
  command = plan
  variables {
    mig_min_instances = 5
    mig_max_instances = 4
  }
  expect_failures = [var.mig_max_instances]
}

run "mig_cpu_target_percent" {
  command = plan
  variables {
    mig_cpu_target = 60
  }
  expect_failures = [var.mig_cpu_target]
}

run "mig_messages_per_worker_too_few" {
  command = plan
  variables {
    mig_messages_per_worker = 10
  }
  expect_failures = [var.mig_messages_per_worker]
}

run "mig_cooldown_seconds_too_short" {
  command = plan
  variables {
    mig_cooldown_seconds = 30
  }
  expect_failures = [var.mig_cooldown_seconds]
}

run "mig_grace_seconds_too_long" {
  command = plan
  variables {
    mig_grace_seconds = 300
  }
  expect_failures = [var.mig_grace_seconds]
}

run "mig_grace_seconds_too_short" {
  command = plan
  variables {
    mig_grace_seconds = 8
  }
  expect_failures = [var.mig_grace_seconds]
}

run "create_network_beside_another" {
  command = plan
  variables {
    create_network = true
    network        = "projects/p/global/networks/n"
    subnetwork     = "projects/p/regions/europe-west1/subnetworks/s"
  }
  expect_failures = [var.create_network]
}

run "subnetwork_cidr_no_range" {
  command = plan
  variables {
    subnetwork_cidr = "10.0.0.0"
  }
  expect_failures = [var.subnetwork_cidr]
}

run "subnetwork_cidr_too_small" {
  command = plan
  variables {
    subnetwork_cidr = "10.0.0.0/28"
  }
  expect_failures = [var.subnetwork_cidr]
}

run "network_a_name" {
  command = plan
  variables {
    network    = "default"
    subnetwork = "projects/p/regions/europe-west1/subnetworks/s"
  }
  expect_failures = [var.network]
}

run "subnetwork_a_name" {
  command = plan
  variables {
    network    = "projects/p/global/networks/n"
    subnetwork = "default"
  }
  expect_failures = [var.subnetwork]
}

run "subnetwork_other_region" {
  command = plan
  variables {
    network    = "projects/p/global/networks/n"
    subnetwork = "projects/p/regions/us-east1/subnetworks/s"
  }
  expect_failures = [var.subnetwork]
}

run "subnetwork_alone" {
  command = plan
  variables {
    subnetwork = "projects/p/regions/europe-west1/subnetworks/s"
  }
  expect_failures = [var.subnetwork]
}

run "attach_vpc_no_network" {
  command = plan
  variables {
    attach_vpc = true
  }
  expect_failures = [var.attach_vpc]
}

run "death_below_ack_deadline" {
  command = plan
  variables {
    ack_deadline_seconds = 11
  }
  expect_failures = [google_secret_manager_secret_version.config]
}

run "death_below_lease" {
  command = plan
  variables {
    config = "hold: {lease: 11s}\n"
  }
  expect_failures = [google_secret_manager_secret_version.config]
}

run "shutdown_beyond_cloud_run" {
  command = plan
  variables {
    config = "shutdown: 10s\n"
  }
  expect_failures = [google_secret_manager_secret_version.config]
}

run "log_shorter_than_replay" {
  command = plan
  variables {
    config = "fleet_timing: {replay: 15m}\n"
  }
  expect_failures = [google_pubsub_topic.log]
}

run "hold_beyond_memory" {
  command = plan
  variables {
    config = "hold: {max_bytes: 1300MiB}\n"
  }
  expect_failures = [google_cloud_run_v2_worker_pool.worker]
}

run "shutdown_of_the_ingest" {
  command = plan
  variables {
    ingest_config = "shutdown: 10s\n"
  }
  expect_failures = [google_cloud_run_v2_service.ingest]
}

run "subnetwork_cidr_of_an_address" {
  command = plan
  variables {
    create_network  = true
    subnetwork_cidr = "10.8.0.5/22"
  }
  expect_failures = [var.subnetwork_cidr]
}
