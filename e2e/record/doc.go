// Command record writes exporter/testdata/recorded anew: the export requests that real SDKs send, byte by byte, for tests
// of what becomes of them. People run it, from this folder, when an SDK has changed what it sends:
//
//	go run . node    # Node.js 20 and npm: the packages of node/package-lock.json
//	go run . go      # the module's own Go SDK
//	go run . java    # JDK 17 and Maven: the agent and the libraries of java/pom.xml, held to java/SHA256SUMS
//
// Each app serves HTTP to itself and calls it, fails once with an exception, links two traces and logs at several
// severities. A few values are an SDK's own choice and differ from run to run (ids, times, ports); what the tests need of a
// recording is in exporter/recorded_test.go. What an SDK says of the machine it runs on (host.*, os.*, process.*, container.*,
// paths in stack traces) is switched off in the apps and in the environment that environment.go gives them; look at
// a new recording with `tailweir`'s JSON or `protoc --decode_raw` before it is committed.
//
// It is a module of its own, so that neither the product nor the end-to-end tests depend on what the apps need.
package main
