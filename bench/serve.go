package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"

	"golang.org/x/sync/errgroup"

	benchload "tailweir/bench/load"
	"tailweir/bench/sink"
)

// loadFlags are shared by "load" and "run".
func loadFlags(f *flag.FlagSet) *benchload.Config {
	cfg := benchload.Defaults()
	f.Float64Var(&cfg.Rate, "rate", 0, "spans per `second`; 0 = as fast as they are acknowledged")
	f.IntVar(&cfg.Spans, "spans", 0, "spans to send (1,000,000 unless there is a --duration)")
	f.DurationVar(&cfg.Duration, "duration", 0, "how long to begin traces")
	f.IntVar(&cfg.Connections, "connections", cfg.Connections, "requests under way at once")
	f.BoolVar(&cfg.GRPC, "grpc", false, "OTLP/gRPC instead of OTLP/HTTP")
	f.BoolVar(&cfg.Gzip, "gzip", false, "compress the payloads")
	f.BoolVar(&cfg.Logs, "logs", false, "also send log records")
	f.DurationVar(&cfg.RetryInitial, "retry-initial", cfg.RetryInitial, "first wait before a payload is sent again")
	f.DurationVar(&cfg.RetryMax, "retry-max", cfg.RetryMax, "longest wait")
	f.DurationVar(&cfg.RetryFor, "retry-for", cfg.RetryFor, "after this long a payload counts as failed")
	f.DurationVar(&cfg.Gap, "gap", 0, "traces whose items may have been published further apart than this bind no verdict; with it the latency is measured, too")
	f.Uint64Var(&cfg.Seed, "seed", cfg.Seed, "what is sent is a function of it")
	f.Func("run", "`number` of the run, 0 to 65535, carried by every trace id (default 1)", func(s string) error {
		_, err := fmt.Sscanf(s, "%d", &cfg.ID)
		return err
	})
	return &cfg
}

func load(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("bench load", flag.ContinueOnError)
	cfg := loadFlags(f)
	f.StringVar(&cfg.Target, "target", cfg.Target, "OTLP receiver, `host:port` on loopback")
	out := f.String("out", "", "`file` for the JSON report; standard output by default")
	if err := parse(f, args); err != nil {
		return err
	}
	if cfg.Spans == 0 && cfg.Duration == 0 {
		cfg.Spans = 1_000_000
	}
	report, err := benchload.Run(ctx, *cfg)
	if err != nil {
		return err
	}
	return writeJSON(*out, report)
}

func writeJSON(file string, v any) error {
	b, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode report: %w", err)
	}
	b = append(b, '\n')
	if file == "" {
		_, err = os.Stdout.Write(b)
		return err
	}
	return os.WriteFile(file, b, 0o644)
}

func serveSink(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("bench sink", flag.ContinueOnError)
	httpAddr := f.String("http", "127.0.0.1:4418", "`address` for OTLP/HTTP, GET /report and POST /proof")
	grpcAddr := f.String("grpc", "127.0.0.1:4417", "`address` for OTLP/gRPC")
	google := f.String("google", "", "`address` for fakes of Google's APIs for traces and logs, faults for which are taken at POST /google/fault; none by default")
	journal := f.String("journal", "", "`file` that keeps what was received over the death of the process")
	if err := parse(f, args); err != nil {
		return err
	}
	var s sink.Sink
	if *journal != "" {
		if err := s.OpenJournal(*journal); err != nil {
			return err
		}
	}
	if *google != "" {
		if err := s.ServeGoogle(*google); err != nil {
			return err
		}
		defer s.Google.Close()
	}
	lh, err := net.Listen("tcp", *httpAddr)
	if err != nil {
		return err
	}
	lg, err := net.Listen("tcp", *grpcAddr)
	if err != nil {
		return err
	}
	hs, gs := &http.Server{Handler: s.Handler()}, s.GRPCServer()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return hs.Serve(lh) })
	g.Go(func() error { return gs.Serve(lg) })
	g.Go(func() error {
		<-ctx.Done()
		gs.Stop()
		return hs.Close()
	})
	if err := g.Wait(); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return writeJSON("", s.Seen.Counts())
}
