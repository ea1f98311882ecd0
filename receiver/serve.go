package receiver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
)

// maxStreams bounds the requests of one HTTP/2 connection: a proxy in front sends all of an instance's on a few.
const maxStreams = 1000

// Serve answers HTTP/1.1 and HTTP/2 without TLS (prior knowledge) on l until ctx is done. Then it takes no new
// requests, lets running ones finish for Config.Grace, and returns nil. Senders of requests that were cut got no
// success and retry. It closes l. Any other end is an error.
func (r *Receiver) Serve(ctx context.Context, l net.Listener) error {
	srv := r.server()
	served := make(chan error, 1)
	go func() { served <- srv.Serve(r.conns.listen(l)) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	r.drain()
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.Grace)
	defer cancel()
	if err := srv.Shutdown(grace); err != nil {
		r.cfg.Logger.Warn("requests cut at the end of the grace", "requests", r.requests.used.Load(), "grace", r.cfg.Grace)
		srv.Close()
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	}
	return nil
}

// drain has health checks say NOT_SERVING from now on.
func (r *Receiver) drain() {
	r.draining.Store(true)
	r.stop.Do(func() { close(r.stopping) })
}

func (r *Receiver) server() *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Server{
		Handler:   r,
		ConnState: r.conns.state,
		Protocols: &protocols,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: maxStreams,
			// WriteTimeout ends a stream by a frame, which waits for ever behind a sender that does not read.
			WriteByteTimeout: r.cfg.ReadTimeout,
		},
		ReadHeaderTimeout: r.cfg.HeaderTimeout,
		ReadTimeout:       r.cfg.ReadTimeout,
		// Counted from the end of the headers, so it holds the reading, the publishing and the answer.
		WriteTimeout:   r.cfg.ReadTimeout + 2*r.cfg.PublishTimeout,
		IdleTimeout:    r.cfg.IdleTimeout,
		MaxHeaderBytes: r.cfg.MaxHeaderBytes,
		ErrorLog:       slog.NewLogLogger(r.cfg.Logger.Handler(), slog.LevelWarn),
	}
}
