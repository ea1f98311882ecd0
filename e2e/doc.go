// Package e2e proves the product from outside: it builds the binaries, starts them as a person would, and sends what real
// SDKs, generators and browsers send. It is a module of its own, so that none of that is a dependency of the product.
//
// Parts that need Node.js, Python, Java and Maven, Chromium, Google's Pub/Sub emulator, or root for a root directory of their own, are skipped where that is
// missing, and fail with CI=true. What they fetch from registries is pinned with checksums and kept in the user's cache, tailweir-e2e.
// TAILWEIR_AWAY=full measures what docs/away.md says, which takes an hour.
// TAILWEIR_E2E_ALL=1 adds what takes minutes. TAILWEIR_E2E_SCREENSHOT names a file for a picture of the console.
package e2e
