package logging

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"cloud.google.com/go/logging/apiv2/loggingpb"

	"tailweir/exporter"
	"tailweir/exporter/cloudlogging"
	"tailweir/exporter/gcp"
	"tailweir/otlp"
)

// ours is exporter/cloudlogging with the same settings.
type ours struct {
	server   *server
	exporter exporter.Exporter
}

func startOurs(t *testing.T) *ours {
	t.Helper()
	s := startServer(t)
	e, err := cloudlogging.New(t.Context(), cloudlogging.Config{
		Dial:    gcp.Dial{Endpoint: s.address, Insecure: true},
		Routes:  gcp.Routes{Project: project},
		LogName: logName,
		Logger:  slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return &ours{s, e}
}

// export sends the records as the pipeline would, each in a part of its own. What is refused is told by the error.
func (o *ours) export(ctx context.Context, records ...record) ([]*loggingpb.LogEntry, error) {
	b := &exporter.Batch{Signal: otlp.Logs}
	for _, r := range records {
		b.Parts = append(b.Parts, exporter.Part{
			Trace: otlp.TraceID(r.place().record.TraceID()), Decided: r.decision != undecided, Kept: r.decision == kept,
			Items: 1, Off: len(b.Payload), Len: len(r.payload), Sources: []exporter.Source{{Message: 1, Items: 1}},
		})
		b.Payload = append(b.Payload, r.payload...)
		b.Items++
	}
	err := o.exporter.Export(ctx, b)
	var refused *exporter.PermanentError
	if err != nil && !errors.As(err, &refused) {
		return nil, err
	}
	return o.server.take(), err
}
