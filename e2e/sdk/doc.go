// Package sdk holds one small service in each language, for tests with the SDKs that people use. All serve the same:
//
//	GET /order/KIND    one log record "NAME serves KIND" in the span of the request; KIND is plain, fast, slow (1.2 s) or error (500)
//
// With NEXT=http://host:port a service asks that one with the same path before it answers 200. It prints "listening PORT" when it
// is ready, sends what is left on SIGTERM, and ends. Everything else is in OTEL_ variables. What the services need is pinned by
// node/package-lock.json, python/requirements.txt, and kotlin/pom.xml with kotlin/SHA256SUMS; ../sdk_test.go fetches it.
package sdk
