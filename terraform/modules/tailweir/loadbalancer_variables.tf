# --- Load balancer before the ingest, and Cloud NAT

variable "load_balancer" {
  description = "For senders outside of Google Cloud. backend: a serverless NEG and a backend service, for a load balancer that you have; external: a global external Application Load Balancer with HTTPS as well. Example: \"external\""
  type        = string
  default     = "none"
  nullable    = false
  validation {
    condition     = contains(["none", "backend", "external"], var.load_balancer)
    error_message = "load_balancer must be none, backend or external."
  }
  validation {
    condition     = var.load_balancer == "none" || var.ingest_ingress != "INGRESS_TRAFFIC_INTERNAL_ONLY"
    error_message = "load_balancer needs ingest_ingress = \"INGRESS_TRAFFIC_INTERNAL_LOAD_BALANCER\": Cloud Run turns a load balancer's requests away otherwise."
  }
  validation {
    condition     = var.load_balancer != "external" || var.ingest_invoker_iam || !contains(var.ingest_auth, "none") || var.load_balancer_security_policy != null
    error_message = "load_balancer \"external\" needs ingest_auth keys or google, load_balancer_security_policy (Cloud Armor) or ingest_invoker_iam: the whole internet could send traces otherwise."
  }
}

variable "load_balancer_domains" {
  description = "Names under which senders reach the external load balancer; Google makes and renews a certificate for them once they resolve to its address. Example: [\"otlp.example.com\"]"
  type        = list(string)
  default     = []
  nullable    = false
  validation {
    condition     = length(var.load_balancer_domains) <= 100 && alltrue([for d in var.load_balancer_domains : can(regex("^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\\.)+[a-z]{2,63}$", d))])
    error_message = "load_balancer_domains must be at most 100 names such as otlp.example.com, in lower case, without a wildcard and without a dot at the end: Google's managed certificates take no others."
  }
  validation {
    condition     = var.load_balancer != "external" || (length(var.load_balancer_domains) > 0) != (length(var.load_balancer_certificates) > 0)
    error_message = "load_balancer \"external\" needs either load_balancer_domains or load_balancer_certificates: there is no OTLP without TLS over the internet."
  }
}

variable "load_balancer_certificates" {
  description = "Certificates that you have, in place of a managed one. Example: [\"projects/my-observability/global/sslCertificates/otlp\"]"
  type        = list(string)
  default     = []
  nullable    = false
  validation {
    condition     = length(var.load_balancer_certificates) <= 15 && alltrue([for c in var.load_balancer_certificates : can(regex("^projects/[^/]+/global/sslCertificates/[^/]+$", c))])
    error_message = "load_balancer_certificates must be at most 15, projects/P/global/sslCertificates/NAME."
  }
}

variable "load_balancer_security_policy" {
  description = "Cloud Armor policy that says who may send through the load balancer. Example: \"projects/my-observability/global/securityPolicies/offices\""
  type        = string
  default     = null
  validation {
    condition     = var.load_balancer_security_policy == null ? true : can(regex("^projects/[^/]+/global/securityPolicies/[^/]+$", var.load_balancer_security_policy))
    error_message = "load_balancer_security_policy must be projects/P/global/securityPolicies/NAME."
  }
}

variable "create_nat" {
  description = "With create_network: Cloud NAT, so that what is in the subnetwork without an external address reaches the internet: apps whose traffic all goes through it, machines that fetch an image elsewhere. Example: true"
  type        = bool
  default     = false
  nullable    = false
  validation {
    condition     = !var.create_nat || var.create_network
    error_message = "create_nat is for the network of create_network: an existing network's NAT is its owner's."
  }
}
