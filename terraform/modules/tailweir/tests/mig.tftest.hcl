# Workers on a managed instance group.
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

  worker_platform = "mig"
  create_network  = true
}

run "group" {
  assert {
    condition     = length(google_cloud_run_v2_worker_pool.worker) == 0 && output.worker_name == "tailweir-worker" && strcontains(output.console, "--tunnel-through-iap") && strcontains(output.console, "localhost:8080")
    error_message = "machines instead of a pool, and the console by a tunnel"
  }
  assert {
    condition = (google_compute_instance_template.worker[0].machine_type == "e2-standard-2" && length(google_compute_instance_template.worker[0].network_interface[0].access_config) == 0 &&
      google_compute_instance_template.worker[0].network_interface[0].network == google_compute_network.own[0].id && google_compute_instance_template.worker[0].network_interface[0].subnetwork == google_compute_subnetwork.own[0].id &&
    google_compute_instance_template.worker[0].service_account[0].email == "worker@p.iam.gserviceaccount.com" && google_compute_instance_template.worker[0].disk[0].source_image == "projects/cos-cloud/global/images/family/cos-stable")
    error_message = "no external address, the workers' account, Container-Optimized OS"
  }
  assert {
    condition     = google_compute_instance_template.worker[0].shielded_instance_config[0].enable_secure_boot && google_compute_instance_template.worker[0].shielded_instance_config[0].enable_vtpm && google_compute_instance_template.worker[0].shielded_instance_config[0].enable_integrity_monitoring
    error_message = "shielded"
  }
  assert {
    condition     = google_compute_instance_template.worker[0].metadata["block-project-ssh-keys"] == "TRUE" && google_compute_instance_template.worker[0].metadata["enable-oslogin"] == "TRUE" && google_compute_instance_template.worker[0].metadata["serial-port-enable"] == "FALSE" && google_compute_instance_template.worker[0].metadata["google-logging-enabled"] == "true"
    error_message = "who may log in is decided by IAM, and the worker's lines go to Cloud Logging"
  }
  assert {
    condition = (google_compute_region_instance_group_manager.worker[0].version[0].instance_template == google_compute_instance_template.worker[0].id &&
      google_compute_region_instance_group_manager.worker[0].update_policy[0].max_unavailable_fixed == 0 && google_compute_region_instance_group_manager.worker[0].update_policy[0].max_surge_fixed == 3 &&
      google_compute_region_instance_group_manager.worker[0].update_policy[0].type == "PROACTIVE" && google_compute_region_instance_group_manager.worker[0].update_policy[0].replacement_method == "SUBSTITUTE" &&
      google_compute_region_instance_group_manager.worker[0].auto_healing_policies[0].health_check == google_compute_health_check.worker[0].id &&
    google_compute_region_instance_group_manager.worker[0].region == "europe-west1")
    error_message = "new workers first, and sick ones replaced"
  }
  assert {
    condition     = google_compute_health_check.worker[0].http_health_check[0].request_path == "/healthz" && google_compute_health_check.worker[0].http_health_check[0].port == 8081 && google_compute_health_check.worker[0].check_interval_sec * google_compute_health_check.worker[0].unhealthy_threshold >= 60
    error_message = "a worker that waits for Pub/Sub must not be replaced, nor one that is busy for some seconds"
  }
  assert {
    condition = (google_compute_region_autoscaler.worker[0].autoscaling_policy[0].min_replicas == 2 && google_compute_region_autoscaler.worker[0].autoscaling_policy[0].max_replicas == 10 &&
      google_compute_region_autoscaler.worker[0].autoscaling_policy[0].cpu_utilization[0].target == 0.6 && google_compute_region_autoscaler.worker[0].autoscaling_policy[0].cooldown_period == 120 &&
      google_compute_region_autoscaler.worker[0].autoscaling_policy[0].scale_in_control[0].max_scaled_in_replicas[0].fixed == 1 && google_compute_region_autoscaler.worker[0].autoscaling_policy[0].scale_in_control[0].time_window_sec == 600 &&
      length(google_compute_region_autoscaler.worker[0].autoscaling_policy[0].metric) == 0 && google_compute_region_autoscaler.worker[0].autoscaling_policy[0].mode == "ON" &&
    google_compute_region_autoscaler.worker[0].target == google_compute_region_instance_group_manager.worker[0].id)
    error_message = "by CPU, and in by one at a time"
  }
  assert {
    condition = (google_compute_firewall.health[0].source_ranges == toset(["130.211.0.0/22", "35.191.0.0/16"]) && [for a in google_compute_firewall.health[0].allow : a.ports[0]] == ["8081"] &&
      google_compute_firewall.tunnel[0].source_ranges == toset(["35.235.240.0/20"]) && [for a in google_compute_firewall.tunnel[0].allow : a.ports[0]] == ["22"] &&
      google_compute_firewall.health[0].target_service_accounts == toset(["worker@p.iam.gserviceaccount.com"]) && google_compute_firewall.tunnel[0].target_service_accounts == toset(["worker@p.iam.gserviceaccount.com"]) &&
    google_compute_firewall.health[0].network == google_compute_network.own[0].id && google_compute_firewall.tunnel[0].network == google_compute_network.own[0].id)
    error_message = "health checkers and Identity-Aware Proxy, nobody else"
  }
  assert {
    condition     = google_artifact_registry_repository_iam_member.worker_pulls[0].role == "roles/artifactregistry.reader" && google_artifact_registry_repository_iam_member.worker_pulls[0].member == "serviceAccount:worker@p.iam.gserviceaccount.com" && contains(keys(google_project_service.api), "compute.googleapis.com")
    error_message = "machines pull the image as the workers' account"
  }
}

run "machine" {
  assert {
    condition     = startswith(google_compute_instance_template.worker[0].metadata["user-data"], "#cloud-config\n") && [for f in yamldecode(google_compute_instance_template.worker[0].metadata["user-data"]).write_files : f.path] == ["/etc/tailweir/worker.sh", "/etc/tailweir/worker.env", "/etc/systemd/system/tailweir-worker.service"]
    error_message = "cloud-init writes three files"
  }
  assert {
    condition = (strcontains(yamldecode(google_compute_instance_template.worker[0].metadata["user-data"]).write_files[1].content, "TAILWEIR_SUBSCRIPTION=tailweir-payloads-worker\n") &&
    strcontains(yamldecode(google_compute_instance_template.worker[0].metadata["user-data"]).write_files[1].content, "TAILWEIR_CONFIG=/etc/tailweir/worker.yaml\n"))
    error_message = "the worker's environment"
  }
  assert {
    condition     = !strcontains(google_compute_instance_template.worker[0].metadata["user-data"], "Everything is the default")
    error_message = "metadata can be read by everybody who sees the project: the file must not be in it"
  }
  assert {
    condition = (strcontains(yamldecode(google_compute_instance_template.worker[0].metadata["user-data"]).write_files[0].content, "https://secretmanager.googleapis.com/v1/${google_secret_manager_secret_version.config["worker"].name}:access") &&
      strcontains(yamldecode(google_compute_instance_template.worker[0].metadata["user-data"]).write_files[0].content, "-A INPUT -p tcp --dport 8081 -s $range -j ACCEPT") &&
    strcontains(yamldecode(google_compute_instance_template.worker[0].metadata["user-data"]).write_files[0].content, "--registries=europe-west1-docker.pkg.dev\n"))
    error_message = "the file comes from Secret Manager, and health checkers get in"
  }
  assert {
    condition = (strcontains(yamldecode(google_compute_instance_template.worker[0].metadata["user-data"]).write_files[2].content, "docker stop --time 60 worker") && strcontains(yamldecode(google_compute_instance_template.worker[0].metadata["user-data"]).write_files[2].content, "--env-file /run/tailweir/machine.env") && strcontains(yamldecode(google_compute_instance_template.worker[0].metadata["user-data"]).write_files[2].content, "--env-file /etc/tailweir/worker.env") &&
      strcontains(yamldecode(google_compute_instance_template.worker[0].metadata["user-data"]).write_files[2].content, "TimeoutStopSec=65\n") && strcontains(yamldecode(google_compute_instance_template.worker[0].metadata["user-data"]).write_files[2].content, "[Unit]\nDescription=Tailweir worker\nWants=network-online.target docker.service\nAfter=network-online.target docker.service\n# Never give up: by default systemd leaves a unit alone that has failed five times in ten seconds.\nStartLimitIntervalSec=0\n") &&
    strcontains(yamldecode(google_compute_instance_template.worker[0].metadata["user-data"]).write_files[2].content, "--entrypoint /tailweir europe-west1-docker.pkg.dev/my-observability/tailweir/tailweir:v1 worker\n"))
    error_message = "the unit runs the worker and gives it its grace"
  }
}

run "as_set" {
  variables {
    mig_machine_type        = "n2d-standard-4"
    mig_boot_image          = "projects/cos-cloud/global/images/family/cos-121-lts"
    mig_min_instances       = 3
    mig_max_instances       = 20
    mig_cpu_target          = 0.5
    mig_cooldown_seconds    = 180
    mig_messages_per_worker = 60000
    mig_grace_seconds       = 30
    config                  = "shutdown: 25s\n"
    worker_command          = ["/ko-app/worker", "--create"]
    create_network          = false
    network                 = "projects/p/global/networks/n"
    subnetwork              = "projects/p/regions/europe-west1/subnetworks/s"
    create_firewall         = false
    kms_key_name            = "projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k"
  }
  assert {
    condition = (google_compute_instance_template.worker[0].machine_type == "n2d-standard-4" && google_compute_instance_template.worker[0].network_interface[0].subnetwork == "projects/p/regions/europe-west1/subnetworks/s" &&
      google_compute_instance_template.worker[0].network_interface[0].network == "projects/p/global/networks/n" && google_compute_instance_template.worker[0].disk[0].source_image == "projects/cos-cloud/global/images/family/cos-121-lts" &&
    google_compute_instance_template.worker[0].disk[0].disk_encryption_key[0].kms_key_self_link == var.kms_key_name && google_kms_crypto_key_iam_member.agent["compute"].member == "serviceAccount:service-123456789012@compute-system.iam.gserviceaccount.com")
    error_message = "machine, network and key as set"
  }
  assert {
    condition = (google_compute_region_autoscaler.worker[0].autoscaling_policy[0].min_replicas == 3 && google_compute_region_autoscaler.worker[0].autoscaling_policy[0].max_replicas == 20 &&
      google_compute_region_autoscaler.worker[0].autoscaling_policy[0].cpu_utilization[0].target == 0.5 && google_compute_region_autoscaler.worker[0].autoscaling_policy[0].cooldown_period == 180 &&
      google_compute_region_autoscaler.worker[0].autoscaling_policy[0].metric[0].single_instance_assignment == 60000 &&
      google_compute_region_autoscaler.worker[0].autoscaling_policy[0].metric[0].name == "pubsub.googleapis.com/subscription/num_undelivered_messages" &&
    google_compute_region_autoscaler.worker[0].autoscaling_policy[0].metric[0].filter == "resource.type = \"pubsub_subscription\" AND resource.labels.subscription_id = \"tailweir-payloads-worker\"")
    error_message = "the autoscaler as set, with the backlog as a second signal"
  }
  assert {
    condition     = strcontains(yamldecode(google_compute_instance_template.worker[0].metadata["user-data"]).write_files[2].content, "docker stop --time 30 worker") && strcontains(yamldecode(google_compute_instance_template.worker[0].metadata["user-data"]).write_files[2].content, "tailweir:v1 --create\n")
    error_message = "grace and arguments as set"
  }
  assert {
    condition     = length(google_compute_network.own) == 0 && length(google_compute_firewall.health) == 0 && length(google_compute_firewall.tunnel) == 0
    error_message = "an existing network stays as it is"
  }
}

run "needs_a_network" {
  command = plan
  variables {
    create_network = false
  }
  expect_failures = [google_compute_instance_template.worker]
}

run "grace_is_longer_than_shutdown" {
  command = plan
  variables {
    config            = "shutdown: 26s\n"
    mig_grace_seconds = 30
  }
  expect_failures = [google_secret_manager_secret_version.config]
}
