package receiver

import (
	"context"
	"io"
	"net/http"
	"testing"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	"tailweir/otlp"
)

// TestHealth asks as the probes of Cloud Run, Kubernetes and load balancers do, by each protocol of the port. Whoever is full is
// healthy: a restart would lose what it has.
func TestHealth(t *testing.T) {
	entered, release := make(chan bool, 1), make(chan bool)
	pub := &shelf{before: func(context.Context, []byte) error {
		entered <- true
		<-release
		return nil
	}}
	r, addr := open(t, pub, Config{MaxRequests: 1})
	sent := make(chan reply, 1)
	body := encoded(t, recordsOf(1, 1))
	go func() { sent <- ways[0].send(t, addr, otlp.Logs, body) }()
	<-entered // all that may run does
	byGRPC := healthpb.NewHealthClient(dial(t, addr))
	for _, state := range []struct {
		draining bool
		http     int
		grpc     healthpb.HealthCheckResponse_ServingStatus
	}{
		{false, http.StatusOK, healthpb.HealthCheckResponse_SERVING},
		{true, http.StatusServiceUnavailable, healthpb.HealthCheckResponse_NOT_SERVING},
	} {
		r.draining.Store(state.draining)
		for _, h2c := range []bool{false, true} {
			resp, err := httpClient(t, h2c).Get("http://" + addr + "/healthz")
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode != state.http {
				t.Errorf("draining %v, h2c %v: status %d, want %d", state.draining, h2c, resp.StatusCode, state.http)
			}
		}
		got, err := byGRPC.Check(t.Context(), &healthpb.HealthCheckRequest{})
		if err != nil || got.Status != state.grpc {
			t.Errorf("draining %v: gRPC says %v, %v, want %v", state.draining, got.GetStatus(), err, state.grpc)
		}
	}
	close(release)
	if got := <-sent; got.Code != codes.OK {
		t.Errorf("the request that ran meanwhile: %+v", got)
	}
}
