// Package compare proves that the sampler answers as the collector's tail_sampling processor does. It drives the real
// processor, v0.161.0, on seeded random pairs of a configuration and a set of traces, and compares trace by trace: under
// compat: strict there must be no difference, in the default mode each difference must be a row of docs/policies.md. Traces
// on which the collector's answer hangs on the order of arrival are counted and shown to neither. It is a module of its
// own, so that the collector is no dependency of the product.
//
//	TAILWEIR_COMPARE_PAIRS=20000 go test -v   that many pairs instead of 2000
//	TAILWEIR_COMPARE_SEED=68 TAILWEIR_COMPARE_PAIRS=1 go test -v   the pair of one seed again
//	go test -run Golden -update   choose the corpus in sampler/testdata/collector anew, for sampler's tests
//	go test -run none -bench .    both on the same traces
package compare
