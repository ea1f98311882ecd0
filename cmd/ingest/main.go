// Command ingest takes OTLP over HTTP and gRPC on one port and answers once Pub/Sub has confirmed the payload. It is "tailweir ingest"
// as a program of its own.
//
// Environment: GOOGLE_CLOUD_PROJECT, PORT, TAILWEIR_TOPIC, TAILWEIR_KEYS or TAILWEIR_AUTH, TAILWEIR_ADMIN, TAILWEIR_CONFIG, and PUBSUB_EMULATOR_HOST for an emulator.
package main

import (
	"os"

	"tailweir/service"
)

func main() { os.Exit(service.Main("ingest", service.RunIngest)) }
