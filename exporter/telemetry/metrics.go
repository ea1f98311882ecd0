package telemetry

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"tailweir/exporter"
	"tailweir/exporter/gcp"
	"tailweir/otlp"
)

// What the API takes of metrics in one request (docs.cloud.google.com/stackdriver/quotas, "Limits and quotas for ingestion of metrics").
const (
	maxPoints    = 200
	maxResources = 200 // ResourceMetrics
)

// metricsWork is what work is for metrics: whose item is a Metric of at most maxPoints points. What the API does not take of names,
// attributes and times it rejects point by point by partial success, so that nothing is looked for here.
type metricsWork struct {
	payload      otlp.Payload
	destinations []destination
	points       []int // before each item
}

// exportMetrics sends the batch in requests of one project and at most 200 points each. A part is refused as a whole: its items
// are points, and nothing names those.
func (t *Telemetry) exportMetrics(ctx context.Context, b *exporter.Batch, d *delivery) error {
	w := &metricsWork{}
	if err := w.plan(b, t); err != nil {
		return &exporter.PermanentError{Err: fmt.Errorf("export %s to %s: %w", b.Signal, t.server, err)}
	}
	var group errgroup.Group
	group.SetLimit(maxDestinations)
	for _, to := range w.destinations {
		group.Go(func() error { return t.sendMetrics(ctx, w, to, d) })
	}
	if err := group.Wait(); err != nil {
		return fmt.Errorf("export %s to %w", b.Signal, err)
	}
	t.courier.Count(b, d.refused, 0)
	return d.result()
}

// plan cuts metrics of too many points, and says what goes where. A metric without a point is nothing to store, and left out.
func (w *metricsWork) plan(b *exporter.Batch, t *Telemetry) error {
	if err := w.payload.Scan(b.Signal, b.Payload); err != nil {
		return err
	}
	if cut := otlp.CutPoints(&w.payload, maxPoints); len(cut) != len(b.Payload) {
		if err := w.payload.Scan(b.Signal, cut); err != nil {
			return err
		}
	}
	chooser, at := t.routes.For(&w.payload), map[string]int{}
	w.points = make([]int, w.payload.Len())
	points := 0
	for i := range int32(w.payload.Len()) {
		w.points[i] = points
		n := w.payload.PointsOf(i)
		if points += n; n == 0 {
			continue
		}
		project := chooser.Project(i)
		if _, known := at[project]; !known {
			at[project] = len(w.destinations)
			w.destinations = append(w.destinations, destination{project: project})
		}
		to := &w.destinations[at[project]]
		to.items = append(to.items, i)
	}
	return nil
}

// sendMetrics delivers all metrics of one project, one request after the other, so that points of a series stay in their order.
func (t *Telemetry) sendMetrics(ctx context.Context, w *metricsWork, to destination, d *delivery) error {
	for items := to.items; len(items) > 0; {
		whole, allPoints, n := w.encode(to.project, items)
		err := exporter.Halve(n, func(first, end int) error {
			body, points, once := whole, allPoints, true
			if end-first < n {
				body, points, _ = w.encode(to.project, items[first:end])
			}
			return t.send(ctx, d, to.project, body, points, &once)
		}, func(i int, f *exporter.Fault) {
			part, _ := d.locate(w.points[items[i]])
			d.reject(part, f)
		})
		if err != nil {
			return err
		}
		items = items[n:]
	}
	return nil
}

// encode writes a request of the first n of the items that fill it, at least one, and counts their points.
func (w *metricsWork) encode(project string, items []int32) (request []byte, points, n int) {
	var out otlp.Writer
	out.Start(nil, &w.payload, gcp.ProjectAttribute, project)
	resource, resources := int32(-1), 0
	for n, i := range items {
		if r := w.payload.Span(i).ResourceIndex(); r != resource { // where a metric lies is said alike
			resource = r
			resources++
		}
		more := w.payload.PointsOf(i)
		if n > 0 && (points+more > maxPoints || resources > maxResources || out.Len()+out.Need(i) > maxRequest) {
			return out.Bytes(), points, n
		}
		points += more
		out.Item(i, nil)
	}
	return out.Bytes(), points, len(items)
}
