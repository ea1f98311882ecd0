package receiver

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/collector/pdata/pmetric/pmetricotlp"
	"google.golang.org/grpc/codes"

	"tailweir/otlp"
)

// TestMetricsAreStored sends metrics every way to a receiver that has a topic for them.
func TestMetricsAreStored(t *testing.T) {
	// Descriptions that do not compress, so that gzip makes nothing fit.
	described := func(n int, sizes ...int) pmetricotlp.ExportRequest {
		r := pointsOf(n)
		random := rand.NewChaCha8([32]byte{})
		for i, size := range sizes {
			text := make([]byte, size)
			_, _ = random.Read(text)
			r.Metrics().ResourceMetrics().At(0).ScopeMetrics().At(0).Metrics().At(i).SetDescription(base64.StdEncoding.EncodeToString(text))
		}
		return r
	}
	tests := []struct {
		name     string
		request  exportRequest // nil: garbage
		before   func(context.Context, []byte) error
		max      int
		want     reply
		messages int
		accepted uint64
	}{
		{name: "points", request: pointsOf(3), want: reply{HTTP: 200}, messages: 1, accepted: 6},
		{name: "nothing", request: pmetricotlp.NewExportRequest(), want: reply{HTTP: 200}},
		{name: "malformed", want: reply{HTTP: 400, Code: codes.InvalidArgument}},
		{name: "split", request: described(3, 2600, 2600), max: 4000, want: reply{HTTP: 200}, messages: 2, accepted: 6},
		{name: "larger than a message", request: described(3, 0, 4000), max: 1000, messages: 1, accepted: 3,
			want: reply{HTTP: 200, Rejected: 3, Text: "3 data points, in metrics larger than 1000 bytes with resource and scope, the limit of one message"}},
		{name: "outage", request: pointsOf(1), before: outage,
			want: reply{HTTP: 503, Code: codes.Unavailable, Retry: time.Second, Text: "publish metrics: pubsub: unavailable"}},
	}
	for _, test := range tests {
		for _, w := range ways {
			t.Run(test.name+"/"+w.name, func(t *testing.T) {
				pub := &shelf{before: test.before}
				others := &shelf{before: func(context.Context, []byte) error { return errors.New("not for metrics") }}
				r, addr := open(t, others, Config{Metrics: pub, MaxMessage: test.max})
				body := []byte("\x0a\xff not a payload")
				var whole []byte
				switch {
				case test.request != nil && w.encoding == JSON:
					body, whole = asJSON(t, test.request), encoded(t, test.request)
				case test.request != nil:
					body = encoded(t, test.request)
					whole = body
				}
				got, want := w.send(t, addr, otlp.Metrics, body), test.want
				if test.request == nil {
					want.Text = got.Text
				}
				if w.encoding == GRPC {
					want.HTTP = 0
				}
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("reply (-want +got):\n%s", diff)
				}
				points := 0
				for _, m := range pub.all() {
					data := m.Data
					if m.Attrs[otlp.AttrContentEncoding] == otlp.EncodingGzip {
						data = unzip(t, data)
					}
					if m.Attrs[otlp.AttrType] != otlp.Metrics.EventType() || m.Attrs[otlp.AttrContentType] != otlp.ContentTypeProtobuf {
						t.Errorf("attributes %v", m.Attrs)
					}
					var p otlp.Payload
					if err := p.Scan(otlp.Metrics, data); err != nil {
						t.Fatal(err)
					}
					if points += p.Points(); test.messages == 1 && test.accepted == uint64(p.Points()) && test.want.Rejected == 0 && !bytes.Equal(data, whole) {
						t.Error("what was published is not what came")
					}
				}
				if len(pub.all()) != test.messages || points != int(test.accepted) {
					t.Errorf("%d messages with %d points published, want %d with %d", len(pub.all()), points, test.messages, test.accepted)
				}
				if st := r.Stats(); st.Points.Accepted != test.accepted || st.Points.Rejected != uint64(got.Rejected) || st.BytesInFlight != 0 {
					t.Errorf("counted %+v, %d bytes in flight", st.Points, st.BytesInFlight)
				}
			})
		}
	}
}
