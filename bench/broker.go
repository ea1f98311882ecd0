package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc/codes"

	"tailweir/queue/broker"
)

func serveBroker(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("bench broker", flag.ContinueOnError)
	addr := f.String("addr", "127.0.0.1:8085", "`address` of the Pub/Sub gRPC services")
	control := f.String("control", "", "`address` for GET /stats, POST /fault (a broker.Fault), /drop and /heal; none by default")
	if err := parse(f, args); err != nil {
		return err
	}
	srv := broker.New(broker.Config{})
	l, err := net.Listen("tcp", *addr)
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return srv.Serve(ctx, l) })
	if *control != "" {
		web := &http.Server{Addr: *control, Handler: controls(srv), ReadHeaderTimeout: 5 * time.Second}
		g.Go(func() error {
			if err := web.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
				return err
			}
			return nil
		})
		context.AfterFunc(ctx, func() { web.Close() })
	}
	return g.Wait()
}

// controls lets another process inject faults.
func controls(srv *broker.Server) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, _ *http.Request) { json.NewEncoder(w).Encode(srv.Stats()) })
	mux.HandleFunc("POST /heal", func(http.ResponseWriter, *http.Request) { srv.Heal() })
	mux.HandleFunc("POST /drop", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, srv.DropStreams(codes.Unavailable)) })
	mux.HandleFunc("POST /fault", func(w http.ResponseWriter, r *http.Request) {
		var f broker.Fault
		if err := json.NewDecoder(r.Body).Decode(&f); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		srv.Inject(f)
	})
	return mux
}
