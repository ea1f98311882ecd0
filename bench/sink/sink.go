// Package sink is the end of the line in a load test: an OTLP receiver, and fakes of Google's APIs, that
// keep, of all they are sent, which spans and log records there were.
package sink

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/klauspost/compress/gzip"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tailweir/bench/ledger"
	"tailweir/bench/rawcodec"
	"tailweir/exporter/googletest"
)

// maxBody bounds a request, compressed and not.
const maxBody = 256 << 20

// Sink receives. The zero value is ready and safe for concurrent use.
type Sink struct {
	Seen    ledger.Seen
	Journal *Journal           // where requests are kept before they are confirmed; nil: in memory alone
	Google  *googletest.Server // set by ServeGoogle
	bodies  sync.Pool          // *bytes.Buffer
	inflate sync.Pool          // *gzip.Reader
}

// Question is what POST /proof asks.
type Question struct {
	Sent   ledger.Sent   `json:"sent"`
	Expect ledger.Expect `json:"expect"`
}

// Handler serves POST /v1/traces, POST /v1/logs, GET /report (ledger.Counts) and
// POST /proof (Question → ledger.Proof); with Google's APIs also POST /google/fault (googletest.Fault), /google/quota (Quota) and
// /google/heal, and GET /google/stats (googletest.Stats).
func (s *Sink) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", func(w http.ResponseWriter, r *http.Request) { s.receive(w, r, kindTraces) })
	mux.HandleFunc("POST /v1/logs", func(w http.ResponseWriter, r *http.Request) { s.receive(w, r, kindLogs) })
	mux.HandleFunc("GET /report", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Seen.Counts()) })
	mux.HandleFunc("POST /proof", s.prove)
	if s.Google != nil {
		s.control(mux)
	}
	return mux
}

// add notes what is in a request, and confirms it only when it will survive the death of this process.
func (s *Sink) add(kind byte, request []byte) error {
	if s.Journal != nil {
		if err := s.Journal.append(kind, request); err != nil {
			return err
		}
	}
	switch kind {
	case kindSpans:
		return each(request, spansField, s.noteSpan)
	case kindEntries:
		return each(request, entriesField, s.noteEntry)
	case kindLogs:
		return scan(request, recordFields, func(trace, span, item []byte) { s.Seen.AddRecord(trace, span, kept(item)) })
	}
	return scan(request, spanFields, func(trace, span, item []byte) {
		plain, state := stateless(item)
		s.Seen.AddSpan(trace, span, plain, state)
	})
}

func (s *Sink) receive(w http.ResponseWriter, r *http.Request, kind byte) {
	buf, _ := s.bodies.Get().(*bytes.Buffer)
	if buf == nil {
		buf = new(bytes.Buffer)
	}
	defer s.bodies.Put(buf)
	buf.Reset()
	err := s.read(buf, r)
	if err == nil {
		err = s.add(kind, buf.Bytes())
	}
	if err != nil {
		code := http.StatusServiceUnavailable
		if errors.Is(err, errMalformed) {
			code = http.StatusBadRequest
		}
		http.Error(w, err.Error(), code)
		return
	}
	w.Header().Set("Content-Type", "application/x-protobuf") // an empty response: all taken
}

func (s *Sink) read(buf *bytes.Buffer, r *http.Request) error {
	body := io.LimitReader(r.Body, maxBody)
	if r.Header.Get("Content-Encoding") != "gzip" {
		_, err := buf.ReadFrom(body)
		return err
	}
	z, _ := s.inflate.Get().(*gzip.Reader)
	if z == nil {
		z = new(gzip.Reader)
	}
	defer s.inflate.Put(z)
	if err := z.Reset(body); err != nil {
		return fmt.Errorf("inflate request: %w", err)
	}
	_, err := buf.ReadFrom(io.LimitReader(z, maxBody))
	return err
}

func (s *Sink) prove(w http.ResponseWriter, r *http.Request) {
	var q Question
	if err := json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(&q); err != nil {
		http.Error(w, fmt.Sprintf("read question: %v", err), http.StatusBadRequest)
		return
	}
	answer(w, s.Seen.Prove(q.Sent, q.Expect))
}

func answer(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(v) // the client has gone if this does not work
}

// GRPCServer serves TraceService/Export and LogsService/Export.
func (s *Sink) GRPCServer() *grpc.Server {
	return grpc.NewServer(grpc.ForceServerCodec(rawcodec.Codec{}), grpc.MaxRecvMsgSize(maxBody), grpc.UnknownServiceHandler(s.export))
}

func (s *Sink) export(_ any, stream grpc.ServerStream) error {
	kind := kindTraces
	switch method, _ := grpc.MethodFromServerStream(stream); method {
	case "/opentelemetry.proto.collector.trace.v1.TraceService/Export":
	case "/opentelemetry.proto.collector.logs.v1.LogsService/Export":
		kind = kindLogs
	default:
		return status.Errorf(codes.Unimplemented, "method %s is not served", method)
	}
	var request, response []byte
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	if err := s.add(kind, request); err != nil {
		code := codes.Unavailable
		if errors.Is(err, errMalformed) {
			code = codes.InvalidArgument
		}
		return status.Error(code, err.Error())
	}
	return stream.SendMsg(&response)
}
