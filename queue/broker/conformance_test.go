package broker_test

import (
	"context"
	"flag"
	"net"
	"os"
	"testing"

	"tailweir/queue/broker"
	"tailweir/queue/queuetest"
)

// serve runs a broker for the length of the test.
func serve(t testing.TB, srv *broker.Server) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

func TestBroker(t *testing.T) {
	t.Parallel()
	srv := broker.New(broker.Config{})
	queuetest.Run(t, queuetest.Target{Name: "broker", Conn: queuetest.Dial(t, serve(t, srv))})
}

func TestEmulator(t *testing.T) {
	t.Parallel()
	conn := queuetest.Dial(t, queuetest.Emulator(t))
	queuetest.Run(t, queuetest.Target{Name: "Google's emulator", Conn: conn, Skips: queuetest.EmulatorSkips})
}

// The cases wait for ack deadlines, not for the processor.
func TestMain(m *testing.M) {
	flag.Parse()
	if fuzz := flag.Lookup("test.fuzz"); fuzz == nil || fuzz.Value.String() == "" { // it would be the number of fuzzing processes
		if err := flag.Set("test.parallel", "32"); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}
