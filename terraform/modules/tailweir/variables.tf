# --- Where

variable "project_id" {
  description = "Google Cloud project of everything here; one of its own is best, since workers may create and delete subscriptions in it. Example: \"my-observability\""
  type        = string
  nullable    = false
  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.project_id))
    error_message = "project_id must be a project's id, not its name or number: 6 to 30 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "project_number" {
  description = "Its number, for the names of Google's service agents: gcloud projects describe PROJECT --format='value(projectNumber)'. Example: \"123456789012\""
  type        = string
  nullable    = false
  validation {
    condition     = can(regex("^[1-9][0-9]{5,}$", var.project_number))
    error_message = "project_number must be the number of the project, digits alone."
  }
}

variable "region" {
  description = "Region of ingest, workers and stored messages; all workers of a fleet run in one. Example: \"europe-west1\""
  type        = string
  nullable    = false
  validation {
    condition     = can(regex("^(africa|asia|australia|europe|me|northamerica|southamerica|us)-[a-z]+[0-9]{1,2}$", var.region))
    error_message = "region must be a region such as europe-west1: not a zone, not a multi-region."
  }
}

variable "image" {
  description = "The image with all commands, by a tag other than latest or by digest, so that a rollback is one. Example: \"europe-west1-docker.pkg.dev/my-observability/tailweir/tailweir:v1\""
  type        = string
  nullable    = false
  validation {
    condition     = can(regex("^[a-z0-9-]+(\\.[a-z0-9-]+)+(:[0-9]+)?/[a-z0-9._/-]+(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?(@sha256:[0-9a-f]{64})?$", var.image))
    error_message = "image must be HOST/PATH with a tag or a digest, such as europe-west1-docker.pkg.dev/my-project/tailweir/tailweir:v1."
  }
  validation {
    condition     = can(regex("(:[A-Za-z0-9_][A-Za-z0-9._-]*|@sha256:[0-9a-f]{64})$", var.image)) && !endswith(var.image, ":latest")
    error_message = "image must have a tag other than latest, or a digest: what is running should be what was reviewed."
  }
}

variable "name" {
  description = "Prefix of all names; a second fleet in the same project needs another. Example: \"tailweir-staging\""
  type        = string
  default     = "tailweir"
  nullable    = false
  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,21}[a-z0-9])?$", var.name)) && !startswith(var.name, "goog")
    error_message = "name must be 1 to 23 lower-case letters, digits and hyphens, beginning with a letter, not with goog, and not ending with a hyphen: service accounts allow 30 characters."
  }
}

variable "labels" {
  description = "Labels of all that takes labels. Example: { team = \"sre\" }"
  type        = map(string)
  default     = {}
  nullable    = false
  validation {
    condition     = length(var.labels) <= 60 && alltrue([for k, v in var.labels : can(regex("^[a-z][a-z0-9_-]{0,62}$", k)) && can(regex("^[a-z0-9_-]{0,63}$", v))])
    error_message = "labels must be at most 60, keys of 1 to 63 and values of 0 to 63 lower-case letters, digits, underscores and hyphens."
  }
}

variable "enable_apis" {
  description = "Enable the APIs that are needed. Example: false, where another team does that"
  type        = bool
  default     = true
  nullable    = false
}

variable "deletion_protection" {
  description = "Let Terraform delete neither service nor worker pool, and so none of the topics and subscriptions that they need. Example: false, before a tear-down"
  type        = bool
  default     = true
  nullable    = false
}

# --- Pub/Sub: names as in docs/settings.md

variable "topic" {
  description = "Name of the topic of payloads; null: NAME-payloads. Example: \"my-payloads\""
  type        = string
  default     = null
  validation {
    condition     = var.topic == null ? true : can(regex("^[A-Za-z][A-Za-z0-9._~+%-]{2,249}$", var.topic)) && !startswith(lower(var.topic), "goog")
    error_message = "topic must be 3 to 250 letters, digits and -._~+%, beginning with a letter and not with goog."
  }
}

variable "dead_letter_topic" {
  description = "Name of the topic of dead letters; its subscription has -keep behind it; null: NAME-deadletters. Example: \"my-deadletters\""
  type        = string
  default     = null
  validation {
    condition     = var.dead_letter_topic == null ? true : can(regex("^[A-Za-z][A-Za-z0-9._~+%-]{2,249}$", var.dead_letter_topic)) && !startswith(lower(var.dead_letter_topic), "goog")
    error_message = "dead_letter_topic must be 3 to 250 letters, digits and -._~+%, beginning with a letter and not with goog."
  }
}

variable "facts_topic" {
  description = "Name of the topic of facts; null: NAME-facts. Example: \"my-facts\""
  type        = string
  default     = null
  validation {
    condition     = var.facts_topic == null ? true : can(regex("^[A-Za-z][A-Za-z0-9._~+%-]{2,249}$", var.facts_topic)) && !startswith(lower(var.facts_topic), "goog")
    error_message = "facts_topic must be 3 to 250 letters, digits and -._~+%, beginning with a letter and not with goog."
  }
}

variable "log_topic" {
  description = "Name of the topic of the log of decisions; null: NAME-log. Example: \"my-log\""
  type        = string
  default     = null
  validation {
    condition     = var.log_topic == null ? true : can(regex("^[A-Za-z][A-Za-z0-9._~+%-]{2,249}$", var.log_topic)) && !startswith(lower(var.log_topic), "goog")
    error_message = "log_topic must be 3 to 250 letters, digits and -._~+%, beginning with a letter and not with goog."
  }
}

variable "subscription" {
  description = "Name of the subscription that workers pull payloads from; null: NAME-payloads-worker. Example: \"my-payloads-worker\""
  type        = string
  default     = null
  validation {
    condition     = var.subscription == null ? true : can(regex("^[A-Za-z][A-Za-z0-9._~+%-]{2,249}$", var.subscription)) && !startswith(lower(var.subscription), "goog")
    error_message = "subscription must be 3 to 250 letters, digits and -._~+%, beginning with a letter and not with goog."
  }
}

variable "facts_subscription" {
  description = "Name of the subscription that the leader pulls facts from; null: NAME-facts-sequencer. Example: \"my-facts-sequencer\""
  type        = string
  default     = null
  validation {
    condition     = var.facts_subscription == null ? true : can(regex("^[A-Za-z][A-Za-z0-9._~+%-]{2,249}$", var.facts_subscription)) && !startswith(lower(var.facts_subscription), "goog")
    error_message = "facts_subscription must be 3 to 250 letters, digits and -._~+%, beginning with a letter and not with goog."
  }
}

variable "log_prefix" {
  description = "Beginning of the names of the workers' own subscriptions on the log; null: NAME-log-. Example: \"my-log-\""
  type        = string
  default     = null
  validation {
    condition     = var.log_prefix == null ? true : can(regex("^[A-Za-z][A-Za-z0-9._~+%-]{2,199}$", var.log_prefix)) && !startswith(lower(var.log_prefix), "goog")
    error_message = "log_prefix must be 3 to 200 letters, digits and -._~+%, beginning with a letter and not with goog."
  }
}

# --- Pub/Sub: how long and where messages are kept

variable "storage_regions" {
  description = "Regions in which payloads, facts and dead letters may be stored; null: region alone. The log is in region alone whatever this says. Example: [\"europe-west1\", \"europe-west4\"]"
  type        = set(string)
  default     = null
  validation {
    condition     = var.storage_regions == null ? true : length(var.storage_regions) > 0 && alltrue([for r in var.storage_regions : can(regex("^(africa|asia|australia|europe|me|northamerica|southamerica|us)-[a-z]+[0-9]{1,2}$", r))])
    error_message = "storage_regions must be regions such as europe-west1, at least one; null for region alone."
  }
  validation {
    condition     = var.storage_regions == null ? true : contains(var.storage_regions, var.region)
    error_message = "storage_regions must contain region: messages would leave the region of the workers otherwise."
  }
}

variable "enforce_in_transit" {
  description = "Pub/Sub also refuses to publish and deliver through other regions than the storage regions. Clients use the global endpoint, which takes the nearest region but promises none, and people far away could not read the log or dead letters. Example: true, where that is a rule"
  type        = bool
  default     = false
  nullable    = false
}

variable "topic_retention" {
  description = "How long the payload topic keeps what is acked, for a backfill by a subscription of its own; billed as storage. null: not at all. Example: \"259200s\""
  type        = string
  default     = "86400s"
  validation {
    condition     = var.topic_retention == null ? true : can(regex("^[0-9]+s$", var.topic_retention)) && try(tonumber(trimsuffix(var.topic_retention, "s")) >= 600 && tonumber(trimsuffix(var.topic_retention, "s")) <= 2678400, false)
    error_message = "topic_retention must be whole seconds with an s, from 600s to 2678400s (31 days), or null."
  }
}

variable "subscription_retention" {
  description = "How long payloads that nobody acked are kept: the longest outage of workers and backends that loses nothing. Example: \"1209600s\""
  type        = string
  default     = "604800s"
  nullable    = false
  validation {
    condition     = can(regex("^[0-9]+s$", var.subscription_retention)) && try(tonumber(trimsuffix(var.subscription_retention, "s")) >= 86400 && tonumber(trimsuffix(var.subscription_retention, "s")) <= 2678400, false)
    error_message = "subscription_retention must be whole seconds with an s, from 86400s (a day: a weekend without anybody must not lose data) to 2678400s (31 days)."
  }
}

variable "log_retention" {
  description = "How long the log is kept: fleet_timing.replay and a minute at least. Example: \"1260s\""
  type        = string
  default     = "660s"
  nullable    = false
  validation {
    condition     = can(regex("^[0-9]+s$", var.log_retention)) && try(tonumber(trimsuffix(var.log_retention, "s")) >= 600 && tonumber(trimsuffix(var.log_retention, "s")) <= 3600, false)
    error_message = "log_retention must be whole seconds with an s, from 600s to 3600s: a worker that starts reads all of it."
  }
}

variable "dead_letter_retention" {
  description = "How long dead letters wait for somebody. Example: \"604800s\""
  type        = string
  default     = "2678400s"
  nullable    = false
  validation {
    condition     = can(regex("^[0-9]+s$", var.dead_letter_retention)) && try(tonumber(trimsuffix(var.dead_letter_retention, "s")) >= 86400 && tonumber(trimsuffix(var.dead_letter_retention, "s")) <= 2678400, false)
    error_message = "dead_letter_retention must be whole seconds with an s, from 86400s (a day) to 2678400s (31 days)."
  }
}

variable "ack_deadline_seconds" {
  description = "Ack deadline of the payloads' subscription, the same as hold.lease. Example: 20, with hold.lease: 20s and fleet_timing.death: 22s"
  type        = number
  default     = 10
  nullable    = false
  validation {
    condition     = var.ack_deadline_seconds >= 10 && var.ack_deadline_seconds <= 600 && floor(var.ack_deadline_seconds) == var.ack_deadline_seconds
    error_message = "ack_deadline_seconds must be a whole number from 10 to 600."
  }
}

variable "max_delivery_attempts" {
  description = "Deliveries until Pub/Sub takes a payload for a dead letter. Each restart of the workers that hold it is one, so keep it high. Example: 100"
  type        = number
  default     = 100
  nullable    = false
  validation {
    condition     = var.max_delivery_attempts >= 50 && var.max_delivery_attempts <= 100 && floor(var.max_delivery_attempts) == var.max_delivery_attempts
    error_message = "max_delivery_attempts must be a whole number from 50 to 100: Pub/Sub takes no more than 100, and with less than 50 a bad day of restarts makes dead letters of good payloads."
  }
}

variable "kms_key_name" {
  description = "Cloud KMS key that encrypts topics, secrets, registry, revisions and disks; null: Google's own keys. Example: \"projects/p/locations/europe-west1/keyRings/r/cryptoKeys/k\""
  type        = string
  default     = null
  validation {
    condition     = var.kms_key_name == null ? true : can(regex("^projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+$", var.kms_key_name))
    error_message = "kms_key_name must be projects/P/locations/L/keyRings/R/cryptoKeys/K, without a version."
  }
  validation {
    condition     = var.kms_key_name == null ? true : try(split("/", var.kms_key_name)[3] == var.region, true)
    error_message = "kms_key_name must be in region: Cloud Run and the registry take no key of another location."
  }
}

# --- Ingest

variable "ingest_ingress" {
  description = "Who reaches the ingest over the network. Apps on Cloud Run reach an internal one by Direct VPC egress. Example: \"INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER\""
  type        = string
  default     = "INGRESS_TRAFFIC_INTERNAL_ONLY"
  nullable    = false
  validation {
    condition     = contains(["INGRESS_TRAFFIC_INTERNAL_ONLY", "INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER", "INGRESS_TRAFFIC_ALL"], var.ingest_ingress)
    error_message = "ingest_ingress must be INGRESS_TRAFFIC_INTERNAL_ONLY, INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER or INGRESS_TRAFFIC_ALL."
  }
  validation {
    condition     = var.ingest_ingress != "INGRESS_TRAFFIC_ALL" || var.ingest_invoker_iam || !contains(var.ingest_auth, "none")
    error_message = "ingest_ingress may be INGRESS_TRAFFIC_ALL with ingest_auth keys or google, or with ingest_invoker_iam only: the whole internet could send traces otherwise."
  }
}

variable "ingest_auth" {
  description = "Whom the ingest asks who sends: none, keys (ingest_keys) or google (ID tokens, by ingest.auth.google in ingest_config), or the last two; see docs/auth.md. Example: [\"keys\"]"
  type        = set(string)
  default     = ["none"]
  nullable    = false
  validation {
    condition     = length(var.ingest_auth) > 0 && length(setsubtract(var.ingest_auth, ["none", "keys", "google"])) == 0
    error_message = "ingest_auth must be [\"none\"], [\"keys\"], [\"google\"] or [\"keys\", \"google\"]."
  }
  validation {
    condition     = !contains(var.ingest_auth, "none") || length(var.ingest_auth) == 1
    error_message = "ingest_auth: none stands alone: with it nobody is asked."
  }
  validation {
    condition     = contains(var.ingest_auth, "google") == can(yamldecode(var.ingest_config).ingest.auth.google.audiences)
    error_message = "ingest_auth google and ingest.auth.google in ingest_config, with audiences and accounts, go together."
  }
}

variable "ingest_keys" {
  description = "The keys that apps send with, as tailweir key new prints their entries: hashes, not the keys. It becomes a secret that the ingest alone reads. Example: file(\"keys.yaml\")"
  type        = string
  default     = ""
  nullable    = false
  sensitive   = true
  validation {
    condition     = contains(var.ingest_auth, "keys") == (trimspace(var.ingest_keys) != "")
    error_message = "ingest_keys and ingest_auth keys go together."
  }
  validation {
    condition     = trimspace(var.ingest_keys) == "" || try(alltrue([for k in yamldecode(var.ingest_keys) : length(k.name) > 0 && can(regex("^sha256:[0-9a-f]{64}$", k.hash))]), false)
    error_message = "ingest_keys must be a YAML list of keys with name and hash, as tailweir key new prints them; tailweir key check says more."
  }
  validation {
    condition     = length(var.ingest_keys) <= 65000
    error_message = "ingest_keys must be 65,000 characters at most: a secret takes 64 KiB."
  }
}

variable "ingest_redact_key" {
  description = "Version of a secret, in this project, with the key of what ingest.redact hashes; see docs/redaction.md. The key itself is in no file of Terraform's, and the version is named because all instances have to hash alike. Example: \"tailweir-redact-key/versions/1\""
  type        = string
  default     = null
  validation {
    condition     = var.ingest_redact_key == null ? true : can(regex("^[A-Za-z0-9_-]{1,255}/versions/[1-9][0-9]*$", var.ingest_redact_key))
    error_message = "ingest_redact_key must be NAME/versions/NUMBER, of a secret in this project: latest would give instances that start at different times different keys."
  }
}

variable "ingest_invoker_iam" {
  description = "Cloud Run asks each request for an identity token of one of ingest_invokers. Most OTLP exporters cannot send one that is renewed, so the bound is the network by default. Example: true"
  type        = bool
  default     = false
  nullable    = false
}

variable "ingest_invokers" {
  description = "Who may call the ingest, with ingest_invoker_iam. Example: [\"serviceAccount:shop@my-project.iam.gserviceaccount.com\"]"
  type        = set(string)
  default     = []
  nullable    = false
  validation {
    condition     = alltrue([for m in var.ingest_invokers : can(regex("^(serviceAccount|user|group|domain|principal|principalSet):.+$", m))])
    error_message = "ingest_invokers must be members such as serviceAccount:shop@my-project.iam.gserviceaccount.com; allUsers and allAuthenticatedUsers are the whole internet, and refused."
  }
  validation {
    condition     = length(var.ingest_invokers) == 0 || var.ingest_invoker_iam
    error_message = "ingest_invokers has no effect without ingest_invoker_iam."
  }
}

variable "ingest_min_instances" {
  description = "Instances that are always there; 2 bear the loss of one. Example: 2"
  type        = number
  default     = 1
  nullable    = false
  validation {
    condition     = var.ingest_min_instances >= 0 && var.ingest_min_instances <= 1000 && floor(var.ingest_min_instances) == var.ingest_min_instances
    error_message = "ingest_min_instances must be a whole number from 0 to 1000."
  }
}

variable "ingest_max_instances" {
  description = "Instances at most. Example: 20"
  type        = number
  default     = 10
  nullable    = false
  validation {
    condition     = var.ingest_max_instances >= 1 && var.ingest_max_instances <= 1000 && floor(var.ingest_max_instances) == var.ingest_max_instances
    error_message = "ingest_max_instances must be a whole number from 1 to 1000."
  }
  validation {
    condition     = var.ingest_max_instances >= var.ingest_min_instances
    error_message = "ingest_max_instances must not be less than ingest_min_instances."
  }
}

variable "ingest_concurrency" {
  description = "Requests of one instance at a time; more instances come above. Not more than ingest.max_requests, 1000 by default. Example: 80"
  type        = number
  default     = 250
  nullable    = false
  validation {
    condition     = var.ingest_concurrency >= 1 && var.ingest_concurrency <= 1000 && floor(var.ingest_concurrency) == var.ingest_concurrency
    error_message = "ingest_concurrency must be a whole number from 1 to 1000."
  }
}

variable "ingest_cpu" {
  description = "CPU of an instance: 100,000 spans/s and more on one. Example: \"2\""
  type        = string
  default     = "1"
  nullable    = false
  validation {
    condition     = contains(["1", "2", "4", "6", "8"], var.ingest_cpu)
    error_message = "ingest_cpu must be 1, 2, 4, 6 or 8."
  }
}

variable "ingest_memory" {
  description = "Memory of an instance: ingest.max_bytes_in_flight (256 MiB) and 256 MiB at least. Example: \"2Gi\""
  type        = string
  default     = "1Gi"
  nullable    = false
  validation {
    condition     = can(regex("^[1-9][0-9]*(Mi|Gi)$", var.ingest_memory)) && try(tonumber(regex("^[0-9]+", var.ingest_memory)) * (endswith(var.ingest_memory, "Gi") ? 1024 : 1) >= 512 && tonumber(regex("^[0-9]+", var.ingest_memory)) * (endswith(var.ingest_memory, "Gi") ? 1024 : 1) <= 32768, false)
    error_message = "ingest_memory must be Mi or Gi, from 512Mi to 32Gi."
  }
  validation {
    condition     = try(tonumber(regex("^[0-9]+", var.ingest_memory)) * (endswith(var.ingest_memory, "Gi") ? 1024 : 1) <= lookup({ 1 = 4096, 2 = 8192, 4 = 16384, 6 = 24576, 8 = 32768 }, var.ingest_cpu, 32768), true)
    error_message = "ingest_memory is more than Cloud Run gives to so little CPU: 4Gi with 1, 8Gi with 2, 16Gi with 4, 24Gi with 6, 32Gi with 8."
  }
  validation {
    condition     = try(tonumber(regex("^[0-9]+", var.ingest_memory)) * (endswith(var.ingest_memory, "Gi") ? 1024 : 1) >= lookup({ 4 = 2048, 6 = 4096, 8 = 4096 }, var.ingest_cpu, 0), true)
    error_message = "ingest_memory is less than Cloud Run demands: 2Gi with 4 CPU, 4Gi with 6 and 8."
  }
}

variable "ingest_cpu_always" {
  description = "CPU also between requests. Example: false, for a test with next to no traffic, where a publish may wait for the next request"
  type        = bool
  default     = true
  nullable    = false
}

variable "ingest_command" {
  description = "The ingest in the image, with its arguments. Example: [\"/ko-app/ingest\"]"
  type        = list(string)
  default     = ["/tailweir", "ingest"]
  nullable    = false
  validation {
    condition     = length(var.ingest_command) > 0 && alltrue([for a in var.ingest_command : can(regex("^[^\\s\"'\\\\$%]+$", a))])
    error_message = "ingest_command must be a program and its arguments, none with blanks, quotes, backslashes, $ or %."
  }
}

variable "ingest_config" {
  description = "The ingest's file, YAML with the sections ingest and shutdown of docs/settings.md; empty: their defaults. Example: \"ingest: {max_body: 4MB}\""
  type        = string
  default     = ""
  nullable    = false
  validation {
    condition     = trimspace(var.ingest_config) == "" || can(keys(yamldecode(var.ingest_config)))
    error_message = "ingest_config must be a YAML map."
  }
  validation {
    condition     = length(setsubtract(try(keys(yamldecode(var.ingest_config)), []), ["ingest", "shutdown"])) == 0
    error_message = "ingest_config may have the sections ingest and shutdown alone: the others are the workers', and the ingest must not read their secrets."
  }
  validation {
    condition     = !can(yamldecode(var.ingest_config).ingest.listen)
    error_message = "ingest_config must not set ingest.listen: the port is Cloud Run's."
  }
  validation {
    condition     = !can(yamldecode(var.ingest_config).ingest.auth.keys) && !can(yamldecode(var.ingest_config).ingest.auth.none)
    error_message = "ingest_config must not set ingest.auth.keys or none: ingest_auth and ingest_keys do."
  }
}

# --- Workers

variable "worker_platform" {
  description = "worker_pool: Cloud Run, a fixed number or worker_autoscaling; mig: virtual machines with an autoscaler; none: elsewhere, as the worker's service account. Example: \"mig\""
  type        = string
  default     = "worker_pool"
  nullable    = false
  validation {
    condition     = contains(["worker_pool", "mig", "none"], var.worker_platform)
    error_message = "worker_platform must be worker_pool, mig or none."
  }
}

variable "config" {
  description = "The workers' file, YAML as in docs/settings.md: policies, window, hold, logs, exporters and so on; empty: all defaults. Example: file(\"worker.yaml\")"
  type        = string
  default     = ""
  nullable    = false
  validation {
    condition     = trimspace(var.config) == "" || can(keys(yamldecode(var.config)))
    error_message = "config must be a YAML map."
  }
  validation {
    condition     = length(setsubtract(try(keys(yamldecode(var.config)), []), ["compat", "console", "exporters", "fleet", "fleet_timing", "hold", "logs", "metrics", "policies", "shutdown", "tail_sampling", "traces", "window"])) == 0
    error_message = "config has a section that workers do not know, or one that this module sets: project, queue, ingest and worker must not be in it."
  }
  validation {
    condition     = !contains(["off", "false"], try(tostring(yamldecode(var.config).fleet), "pubsub"))
    error_message = "config: fleet must not be off: a worker refuses it, since it would forget its decisions whenever it restarts."
  }
  validation {
    condition     = length(var.config) <= 65000
    error_message = "config must be 65,000 characters at most: a secret takes 64 KiB."
  }
}

variable "worker_instances" {
  description = "Workers in the worker pool. Example: 4"
  type        = number
  default     = 2
  nullable    = false
  validation {
    condition     = var.worker_instances >= 0 && var.worker_instances <= 100 && floor(var.worker_instances) == var.worker_instances
    error_message = "worker_instances must be a whole number from 0 to 100."
  }
}

variable "worker_cpu" {
  description = "CPU of a worker in the pool: 100,000 spans/s and more on one. Example: \"2\""
  type        = string
  default     = "1"
  nullable    = false
  validation {
    condition     = contains(["1", "2", "4", "6", "8"], var.worker_cpu)
    error_message = "worker_cpu must be 1, 2, 4, 6 or 8."
  }
}

variable "worker_memory" {
  description = "Memory of a worker in the pool: hold.max_bytes, window.max_bytes and half a GiB at least. Example: \"4Gi\""
  type        = string
  default     = "2Gi"
  nullable    = false
  validation {
    condition     = can(regex("^[1-9][0-9]*(Mi|Gi)$", var.worker_memory)) && try(tonumber(regex("^[0-9]+", var.worker_memory)) * (endswith(var.worker_memory, "Gi") ? 1024 : 1) >= 512 && tonumber(regex("^[0-9]+", var.worker_memory)) * (endswith(var.worker_memory, "Gi") ? 1024 : 1) <= 32768, false)
    error_message = "worker_memory must be Mi or Gi, from 512Mi to 32Gi."
  }
  validation {
    condition     = try(tonumber(regex("^[0-9]+", var.worker_memory)) * (endswith(var.worker_memory, "Gi") ? 1024 : 1) <= lookup({ 1 = 4096, 2 = 8192, 4 = 16384, 6 = 24576, 8 = 32768 }, var.worker_cpu, 32768), true)
    error_message = "worker_memory is more than Cloud Run gives to so little CPU: 4Gi with 1, 8Gi with 2, 16Gi with 4, 24Gi with 6, 32Gi with 8."
  }
  validation {
    condition     = try(tonumber(regex("^[0-9]+", var.worker_memory)) * (endswith(var.worker_memory, "Gi") ? 1024 : 1) >= lookup({ 4 = 2048, 6 = 4096, 8 = 4096 }, var.worker_cpu, 0), true)
    error_message = "worker_memory is less than Cloud Run demands: 2Gi with 4 CPU, 4Gi with 6 and 8."
  }
}

variable "worker_command" {
  description = "The worker in the image, with its arguments. Example: [\"/ko-app/worker\"]"
  type        = list(string)
  default     = ["/tailweir", "worker"]
  nullable    = false
  validation {
    condition     = length(var.worker_command) > 0 && alltrue([for a in var.worker_command : can(regex("^[^\\s\"'\\\\$%]+$", a))])
    error_message = "worker_command must be a program and its arguments, none with blanks, quotes, backslashes, $ or %."
  }
}

variable "google_exporters" {
  description = "Workers write to Cloud Trace and Cloud Logging: APIs and roles for that. Example: false, where config names other exporters alone"
  type        = bool
  default     = true
  nullable    = false
}

variable "export_projects" {
  description = "Further projects that routes in config name, in which workers may write traces and logs. Example: [\"acme-traces\"]"
  type        = set(string)
  default     = []
  nullable    = false
  validation {
    condition     = alltrue([for p in var.export_projects : can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", p))])
    error_message = "export_projects must be ids of projects."
  }
  validation {
    condition     = length(var.export_projects) == 0 || var.google_exporters
    error_message = "export_projects has no effect without google_exporters."
  }
}

variable "quota_project" {
  description = "Project whose quota the Telemetry API counts against, as exporters[].quota_project in config; null: project_id. Example: \"acme-traces\""
  type        = string
  default     = null
  validation {
    condition     = var.quota_project == null ? true : can(regex("^[a-z][a-z0-9-]{4,28}[a-z0-9]$", var.quota_project))
    error_message = "quota_project must be the id of a project."
  }
}

# --- Workers on a managed instance group (worker_platform = "mig")

variable "mig_machine_type" {
  description = "Machine type. Example: \"n2d-standard-4\""
  type        = string
  default     = "e2-standard-2"
  nullable    = false
  validation {
    condition     = can(regex("^[a-z][a-z0-9]*-[a-z0-9-]+$", var.mig_machine_type)) && !can(regex("^(e2-micro|f1-micro|g1-small)$", var.mig_machine_type))
    error_message = "mig_machine_type must be a machine type such as e2-standard-2, with the memory that a worker holds: not e2-micro, f1-micro or g1-small."
  }
}

variable "mig_boot_image" {
  description = "Boot image: Container-Optimized OS. Example: \"projects/cos-cloud/global/images/family/cos-121-lts\""
  type        = string
  default     = "projects/cos-cloud/global/images/family/cos-stable"
  nullable    = false
  validation {
    condition     = can(regex("^projects/[^/]+/global/images/(family/)?cos-[a-z0-9-]+$", var.mig_boot_image))
    error_message = "mig_boot_image must be projects/P/global/images/… of Container-Optimized OS (cos-…): machines are set up by its cloud-init and docker."
  }
}

variable "mig_min_instances" {
  description = "Workers at least. Example: 3"
  type        = number
  default     = 2
  nullable    = false
  validation {
    condition     = var.mig_min_instances >= 1 && var.mig_min_instances <= 100 && floor(var.mig_min_instances) == var.mig_min_instances
    error_message = "mig_min_instances must be a whole number from 1 to 100: at 0 no CPU would ever ask for a worker."
  }
}

variable "mig_max_instances" {
  description = "Workers at most. Example: 20"
  type        = number
  default     = 10
  nullable    = false
  validation {
    condition     = var.mig_max_instances >= 1 && var.mig_max_instances <= 100 && floor(var.mig_max_instances) == var.mig_max_instances
    error_message = "mig_max_instances must be a whole number from 1 to 100."
  }
  validation {
    condition     = var.mig_max_instances >= var.mig_min_instances
    error_message = "mig_max_instances must not be less than mig_min_instances."
  }
}

variable "mig_cpu_target" {
  description = "CPU use that the autoscaler aims at, as a part of 1. Example: 0.5"
  type        = number
  default     = 0.6
  nullable    = false
  validation {
    condition     = var.mig_cpu_target >= 0.1 && var.mig_cpu_target <= 0.95
    error_message = "mig_cpu_target must be from 0.1 to 0.95."
  }
}

variable "mig_messages_per_worker" {
  description = "Un-acked payload messages per worker above which more come; far more than a worker holds at full load, or it grows for ever: see docs/scaling.md. null: by CPU alone. Example: 900000"
  type        = number
  default     = null
  validation {
    condition     = var.mig_messages_per_worker == null ? true : var.mig_messages_per_worker >= 1000
    error_message = "mig_messages_per_worker must be 1000 at least, and above what a worker holds on purpose: docs/scaling.md has the formula."
  }
}

variable "mig_cooldown_seconds" {
  description = "How long the autoscaler waits for a new worker to boot and read the log back. Example: 180"
  type        = number
  default     = 120
  nullable    = false
  validation {
    condition     = var.mig_cooldown_seconds >= 60 && var.mig_cooldown_seconds <= 3600 && floor(var.mig_cooldown_seconds) == var.mig_cooldown_seconds
    error_message = "mig_cooldown_seconds must be a whole number from 60 to 3600."
  }
}

variable "mig_grace_seconds" {
  description = "From SIGTERM to SIGKILL; shutdown in config may be 5 s less. Example: 30"
  type        = number
  default     = 60
  nullable    = false
  validation {
    condition     = var.mig_grace_seconds >= 13 && var.mig_grace_seconds <= 80 && floor(var.mig_grace_seconds) == var.mig_grace_seconds
    error_message = "mig_grace_seconds must be a whole number from 13 to 80: a machine that is stopped has about 90 s."
  }
}

# --- Registry and network

variable "create_registry" {
  description = "Make a registry for images, named as name. The image must be there before the services are: see docs/terraform.md. Example: false"
  type        = bool
  default     = true
  nullable    = false
}

variable "create_network" {
  description = "Make a network and a subnetwork with Private Google Access. Example: true"
  type        = bool
  default     = false
  nullable    = false
  validation {
    condition     = !var.create_network || (var.network == null && var.subnetwork == null)
    error_message = "create_network and network or subnetwork exclude each other."
  }
}

variable "subnetwork_cidr" {
  description = "Addresses of the subnetwork of create_network; Direct VPC egress of apps takes 4 for each instance and more. Example: \"10.8.0.0/22\""
  type        = string
  default     = "10.40.0.0/24"
  nullable    = false
  validation {
    condition     = can(cidrnetmask(var.subnetwork_cidr)) && try(tonumber(split("/", var.subnetwork_cidr)[1]) <= 26 && tonumber(split("/", var.subnetwork_cidr)[1]) >= 8, false)
    error_message = "subnetwork_cidr must be an IPv4 range from /8 to /26: Direct VPC egress takes no smaller subnetwork than /26."
  }
  validation {
    condition     = try(cidrhost(var.subnetwork_cidr, 0) == split("/", var.subnetwork_cidr)[0], true)
    error_message = "subnetwork_cidr must begin with the range's first address: 10.8.0.0/22, not 10.8.0.5/22."
  }
}

variable "network" {
  description = "An existing network. Example: \"projects/p/global/networks/default\""
  type        = string
  default     = null
  validation {
    condition     = var.network == null ? true : can(regex("^projects/[^/]+/global/networks/[^/]+$", var.network))
    error_message = "network must be projects/P/global/networks/N."
  }
}

variable "subnetwork" {
  description = "An existing subnetwork with Private Google Access, in region. Example: \"projects/p/regions/europe-west1/subnetworks/default\""
  type        = string
  default     = null
  validation {
    condition     = var.subnetwork == null ? true : can(regex("^projects/[^/]+/regions/[^/]+/subnetworks/[^/]+$", var.subnetwork))
    error_message = "subnetwork must be projects/P/regions/R/subnetworks/S."
  }
  validation {
    condition     = var.subnetwork == null ? true : try(split("/", var.subnetwork)[3] == var.region, true)
    error_message = "subnetwork must be in region."
  }
  validation {
    condition     = (var.subnetwork == null) == (var.network == null)
    error_message = "network and subnetwork go together."
  }
}

variable "attach_vpc" {
  description = "Give ingest and worker pool an interface in the network (Direct VPC egress, private ranges alone), for exporters with private addresses. Example: true"
  type        = bool
  default     = false
  nullable    = false
  validation {
    condition     = !var.attach_vpc || var.create_network || var.network != null
    error_message = "attach_vpc needs create_network, or network and subnetwork."
  }
}

variable "create_firewall" {
  description = "With mig: rules for Google's health checkers and for SSH through Identity-Aware Proxy. Example: false, where the network's owner makes them"
  type        = bool
  default     = true
  nullable    = false
}
