package otlp

import "testing"

// Walker and Scan have a table each, of what is done with a field and of what it has to be. They know the same fields: one that Scan
// validates and the Walker passes over as unknown could hold what a rule covers.
func TestPlacesKnowTheFieldsOfTheSchema(t *testing.T) {
	for _, pair := range []struct {
		shape shape
		of    message
	}{
		{groupShape, itemsOfResource}, {resourceShape, resource}, {entityShape, entityRef}, {scopeGroupShape, itemsOfScope},
		{scopeShape, scope}, {spanShape, span}, {eventShape, event}, {linkShape, link}, {statusShape, status}, {recordShape, record},
		{metricShape, metric}, {dataShape, sum}, {numberPointShape, numberPoint}, {histogramShape, histogram},
		{histogramPointShape, histogramPoint}, {exponentialShape, exponentialHistogram}, {exponentialPointShape, exponentialPoint},
		{summaryShape, summary}, {summaryPointShape, summaryPoint}, {exemplarShape, exemplar},
	} {
		for n := range 17 {
			rule, step := schemas[pair.of].rules[n], shapes[pair.shape].steps[n]
			if (rule.name != "") != (step.do != doUnknown) {
				t.Errorf("field %d of %s: Scan knows it as %q, the Walker as step %d", n, schemas[pair.of].name, rule.name, step.do)
			}
			if holds := rule.sub == keyValue; holds != (step.do == doAttribute) {
				t.Errorf("field %d of %s: attributes for Scan: %v, for the Walker: %v", n, schemas[pair.of].name, holds, !holds)
			}
		}
	}
}
