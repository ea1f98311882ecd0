// Command worker holds payloads from Pub/Sub, decides with the other workers which traces are kept, and exports those. It is
// "tailweir worker" as a program of its own.
//
// Environment: GOOGLE_CLOUD_PROJECT, TAILWEIR_SUBSCRIPTION, TAILWEIR_TOPIC (for ticks), TAILWEIR_DEAD_LETTER_TOPIC,
// TAILWEIR_FACTS_TOPIC, TAILWEIR_FACTS_SUBSCRIPTION, TAILWEIR_LOG_TOPIC, TAILWEIR_LOG_PREFIX, TAILWEIR_CONSOLE, TAILWEIR_ADMIN,
// TAILWEIR_CONFIG, and PUBSUB_EMULATOR_HOST for an emulator.
package main

import (
	"os"

	"tailweir/service"
)

func main() { os.Exit(service.Main("worker", service.RunWorker)) }
