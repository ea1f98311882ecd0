// Command record writes exporter/testdata/recorded anew: the export requests that real SDKs send, byte by byte, for tests
// of what becomes of them. People run it, from this folder, when an SDK has changed what it sends:
//
//	go run . node    # Node.js 20 and npm: the packages of node/package-lock.json
//	go run . go      # the module's own Go SDK
//	go run . java    # JDK 17 and Maven: the agent and the libraries of java/pom.xml, held to java/SHA256SUMS
//
// Each app serves HTTP to itself and calls it, fails once with an exception, links traces and logs at several severities.
// Ids, times and ports differ from run to run; what tests elsewhere need of a recording is in exporter/recorded_test.go.
// What an SDK says of the machine it runs on (host.*, os.*, process.*, paths in stack traces) is switched off in the apps
// and by environment.go; read a new recording with protoc --decode_raw before it is committed.
//
// It is a module of its own, so that neither the product nor the end-to-end tests depend on what the apps need.
package main
