// Package compare proves that the sampler answers as the collector's tail_sampling processor does. It drives the real
// processor, v0.161.0, on seeded random pairs of a configuration and a set of traces, and compares trace by trace: under
// compat: strict there must be no difference, in the default mode each difference must be a row of docs/policies.md. It is
// a module of its own, so that the collector is no dependency of the product.
//
// TAILWEIR_COMPARE_PAIRS says how many pairs, TAILWEIR_COMPARE_SEED which is the first.
package compare
