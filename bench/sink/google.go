package sink

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	"cloud.google.com/go/logging/apiv2/loggingpb"
	"cloud.google.com/go/trace/apiv2/tracepb"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"tailweir/exporter/googletest"
	"tailweir/otlp"
)

// What the fakes accepted is in the journal as requests to them, of accepted items alone.
const (
	kindSpans   byte = 'T' // tracepb.BatchWriteSpansRequest
	kindEntries byte = 'E' // loggingpb.WriteLogEntriesRequest
)

// The repeated fields of these requests.
const (
	spansField   protowire.Number = 2
	entriesField protowire.Number = 4
)

// attrState is what the exporter for Cloud Trace makes of a tracestate.
const attrState = "w3c.tracestate"

// ServeGoogle starts the fakes of Google's APIs at addr, host:port. What they accept is noted and kept like all else.
func (s *Sink) ServeGoogle(addr string) (err error) {
	s.Google, err = googletest.Start(googletest.Config{
		Addr: addr, Discard: true,
		OnSpans:   func(all []*tracepb.Span) error { return addAll(s, kindSpans, spansField, all) },
		OnEntries: func(all []*loggingpb.LogEntry) error { return addAll(s, kindEntries, entriesField, all) },
		OnExport: func(signal otlp.Signal, request []byte) error {
			if signal == otlp.Logs {
				return s.add(kindLogs, request)
			}
			return s.add(kindTraces, request)
		},
	})
	return err
}

// addAll adds items as a request. Maps are in order in it, so that the same content is always the same bytes.
func addAll[M proto.Message](s *Sink, kind byte, field protowire.Number, all []M) error {
	var request []byte
	for _, m := range all {
		item, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			return err
		}
		request = protowire.AppendBytes(protowire.AppendTag(request, field, protowire.BytesType), item)
	}
	return s.add(kind, request)
}

func (s *Sink) noteSpan(item []byte) error {
	sp := new(tracepb.Span)
	if err := proto.Unmarshal(item, sp); err != nil {
		return errMalformed
	}
	name := strings.Split(sp.Name, "/")
	if len(name) != 6 {
		return errMalformed
	}
	state := sp.Attributes.GetAttributeMap()[attrState].GetStringValue().GetValue()
	s.Seen.AddSpan(unhex(name[3]), unhex(name[5]), item, []byte(state))
	return nil
}

// noteEntry takes the sampling flag for what the record says of its trace. Cloud Logging takes entries for one that have the
// project, the time and the insert id in common.
func (s *Sink) noteEntry(item []byte) error {
	e := new(loggingpb.LogEntry)
	if err := proto.Unmarshal(item, e); err != nil {
		return errMalformed
	}
	project, _, _ := strings.Cut(e.LogName, "/logs/")
	id := fmt.Sprintf("%s %d %s", project, e.Timestamp.AsTime().UnixNano(), e.InsertId)
	trace := e.Trace[strings.LastIndexByte(e.Trace, '/')+1:]
	s.Seen.AddEntry(unhex(trace), unhex(e.SpanId), []byte(id), item, e.TraceSampled)
	return nil
}

// unhex is nil for what is not an id: nobody's.
func unhex(s string) []byte {
	b, _ := hex.DecodeString(s)
	return b
}

// Quota is what POST /google/quota sets.
type Quota struct {
	API   googletest.API
	Quota googletest.Quota
}

// control lets another process inject faults into the fakes.
func (s *Sink) control(mux *http.ServeMux) {
	mux.HandleFunc("POST /google/fault", func(w http.ResponseWriter, r *http.Request) {
		read(w, r, func(f googletest.Fault) { s.Google.Inject(f) })
	})
	mux.HandleFunc("POST /google/quota", func(w http.ResponseWriter, r *http.Request) {
		read(w, r, func(q Quota) { s.Google.SetQuota(q.API, q.Quota) })
	})
	mux.HandleFunc("POST /google/heal", func(http.ResponseWriter, *http.Request) { s.Google.Heal() })
	mux.HandleFunc("GET /google/stats", func(w http.ResponseWriter, _ *http.Request) { answer(w, s.Google.Stats()) })
}

func read[T any](w http.ResponseWriter, r *http.Request, do func(T)) {
	var v T
	if err := json.NewDecoder(io.LimitReader(r.Body, maxBody)).Decode(&v); err != nil {
		http.Error(w, fmt.Sprintf("read %T: %v", v, err), http.StatusBadRequest)
		return
	}
	do(v)
}
