output "otlp_url" {
  description = "Where apps send OTLP to."
  value       = module.tailweir.otlp_url
}

output "app_environment" {
  description = "What to put into an app's environment."
  value       = module.tailweir.app_environment
}

output "network" {
  description = "Network and subnetwork for the apps' Direct VPC egress, all traffic."
  value       = module.tailweir.network
}

output "image_repository" {
  description = "Where to push the image."
  value       = module.tailweir.image_repository
}

output "console" {
  description = "How to reach a worker's console: the tunnel."
  value       = module.tailweir.console
}
