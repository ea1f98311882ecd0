package console

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// stopGrace is how long Serve lets running requests finish; the longest is one big trace as JSON.
const stopGrace = 2 * time.Second

// Listen opens addr for Serve. Without allowRemote only loopback is opened: ":8080" and
// "localhost:8080" are 127.0.0.1:8080 and, where the machine has it, [::1]:8080, and any address
// that is not loopback is an error. With allowRemote addr means what net.Listen says.
func Listen(addr string, allowRemote bool) ([]net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("console: listen on %q: %w", addr, err)
	}
	switch ip := net.ParseIP(host); {
	case allowRemote && host != "localhost", ip != nil && ip.IsLoopback():
		return listenOne(addr)
	case host == "" || host == "localhost":
		return listenLoopback(port)
	}
	return nil, fmt.Errorf("console: listen on %q: not a loopback address, and the console shows traces to whoever reaches it; remote access must be allowed explicitly", addr)
}

func listenOne(addr string) ([]net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	return []net.Listener{l}, nil
}

// listenLoopback opens both loopback addresses on one port: a browser that resolves localhost to
// ::1 would otherwise reach whatever else listens there.
func listenLoopback(port string) ([]net.Listener, error) {
	ls, err := listenOne(net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		return nil, err
	}
	bound := ls[0].Addr().(*net.TCPAddr).Port
	six, err := net.Listen("tcp6", net.JoinHostPort("::1", strconv.Itoa(bound)))
	switch {
	case err == nil:
		return append(ls, six), nil
	case errors.Is(err, syscall.EADDRINUSE) && port != "0":
		ls[0].Close()
		return nil, fmt.Errorf("console: %w", err)
	}
	return ls, nil
}

// Serve answers on all listeners and samples the flow once a second until ctx is done; then it lets
// running requests finish for 2 s and returns nil. It closes the listeners.
func (c *Console) Serve(ctx context.Context, listeners ...net.Listener) error {
	server := &http.Server{
		Handler:           c,
		ReadHeaderTimeout: 5 * time.Second,
		WriteTimeout:      60 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range listeners {
		g.Go(func() error {
			if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("console: serve %s: %w", l.Addr(), err)
			}
			return nil
		})
	}
	g.Go(func() error {
		c.sample(ctx)
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopGrace)
		defer cancel()
		if server.Shutdown(stop) != nil {
			server.Close()
		}
		return nil
	})
	return g.Wait()
}

func (c *Console) sample(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			c.take(now, c.source.Stats())
		}
	}
}

func (c *Console) take(now time.Time, s Stats) {
	c.rates.add(now, s.Received.Spans, s.Kept.Spans)
	if f := s.Fleet.FleetMember; f != nil {
		c.fleetRates.add(now, f.LogRead, f.FragmentsSent)
	}
}
