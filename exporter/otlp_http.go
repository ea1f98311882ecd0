package exporter

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/protobuf/proto"

	"tailweir/otlp"
	"tailweir/version"
)

const (
	// maxResponse bounds what is read of an answer, as the OTLP specification recommends (4 MiB).
	maxResponse = 4 << 20

	mediaProtobuf = "application/x-protobuf" // the OTLP specification; Pub/Sub messages say application/protobuf
	mediaJSON     = "application/json"
)

// httpSender speaks OTLP/HTTP with protobuf bodies.
type httpSender struct {
	client      *http.Client
	targets     [otlp.Metrics + 1]*url.URL // by signal
	headers     map[string]string
	compression string
	writers     sync.Pool // *gzip.Writer: 800 KB each, so they are reused
}

func newHTTPSender(c OTLPConfig, t targets, tlsConfig *tls.Config) *httpSender {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = tlsConfig
	transport.ForceAttemptHTTP2 = true
	transport.MaxIdleConnsPerHost = c.Concurrency
	transport.DisableCompression = true // answers are a few bytes
	return &httpSender{
		client: &http.Client{
			Transport: transport,
			// A redirect would turn POST into GET or carry credentials to another host.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		targets:     [...]*url.URL{otlp.Traces: t.traces, otlp.Logs: t.logs, otlp.Metrics: t.metrics},
		headers:     c.Headers,
		compression: c.Compression,
	}
}

func (s *httpSender) close() error {
	s.client.CloseIdleConnections()
	return nil
}

func (s *httpSender) encode(payload []byte) ([]byte, error) {
	switch s.compression {
	case CompressionZstd:
		return zstdAll(payload), nil
	case CompressionNone:
		// An attempt that was cut short may go on reading for a moment; the batch is the caller's by then.
		return bytes.Clone(payload), nil
	}
	out := bytes.NewBuffer(make([]byte, 0, len(payload)/4+64))
	w, _ := s.writers.Get().(*gzip.Writer)
	if w == nil {
		// Telemetry repeats itself: the fastest level leaves 11 % of the bytes, the standard library's default 10 % at
		// four times the CPU.
		w, _ = gzip.NewWriterLevel(out, gzip.BestSpeed) // an error is for an unknown level only
	} else {
		w.Reset(out)
	}
	defer s.writers.Put(w)
	if _, err := w.Write(payload); err != nil {
		return nil, fmt.Errorf("compress payload: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compress payload: %w", err)
	}
	return out.Bytes(), nil
}

func (s *httpSender) endpoint(signal otlp.Signal) string { return display(s.targets[signal]) }

func (s *httpSender) attempt(ctx context.Context, signal otlp.Signal, body []byte) (*PartialError, *Fault) {
	target := s.targets[signal]
	if target == nil {
		return nil, &Fault{Endpoint: "otlp exporter", Code: "no endpoint", Msg: "neither endpoint nor " + signal.String() + "_endpoint is set", Verdict: NoEndpoint}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, &Fault{Endpoint: display(target), Code: "bad request", Msg: "endpoint is not usable"}
	}
	for k, v := range s.headers {
		if http.CanonicalHeaderKey(k) == "Host" {
			req.Host = v
			continue
		}
		req.Header.Set(k, v)
	}
	req.Header.Set("Content-Type", mediaProtobuf)
	if s.compression != CompressionNone {
		req.Header.Set("Content-Encoding", s.compression)
	}
	if req.Header.Get("User-Agent") == "" {
		req.Header.Set("User-Agent", version.UserAgent())
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, networkFault(target, err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxResponse))
	media, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if res.StatusCode/100 != 2 || webPage(media) {
		return nil, statusFault(target, res, media, answer)
	}
	if err != nil {
		// The rejected count may have been in the part that did not arrive.
		return nil, networkFault(target, err)
	}
	return partialSuccess(signal, answer, media == mediaJSON), nil
}

// webPage tells what a person is to read from an OTLP server's 2xx, which is in the wild also an empty body without a
// type, or the text "ok".
func webPage(media string) bool { return media == "text/html" || media == "application/xhtml+xml" }

// statusFault is for an answer that is no confirmation: any but 2xx, or a web page.
func statusFault(target *url.URL, res *http.Response, media string, body []byte) *Fault {
	f := &Fault{
		Endpoint: display(target),
		Code:     strconv.Itoa(res.StatusCode) + " " + http.StatusText(res.StatusCode),
		Msg:      Clip(statusMessage(media, body)),
		Verdict:  httpVerdict(res.StatusCode),
		Wait:     retryAfter(res.Header.Get("Retry-After"), time.Now()),
	}
	if res.StatusCode/100 == 2 {
		f.Msg, f.Verdict = Clip("a web page: "+f.Msg), NoEndpoint
	}
	if to, err := res.Location(); err == nil && res.StatusCode/100 == 3 {
		f.Msg = Clip("redirects to " + display(to)) // the body may repeat the URL with its query
	}
	return f
}

// statusMessage reads the Status message that OTLP asks for, or whatever text a proxy answered.
func statusMessage(media string, body []byte) string {
	switch media {
	case mediaProtobuf, "application/protobuf":
		var st statuspb.Status
		if proto.Unmarshal(body, &st) == nil {
			return st.GetMessage()
		}
		return ""
	case mediaJSON:
		var st struct {
			Message string `json:"message"`
		}
		if json.Unmarshal(body, &st) == nil && st.Message != "" {
			return st.Message
		}
	}
	return string(body)
}

// retryAfter reads both forms of RFC 9110, 10.2.3: seconds, or a date. 0 when absent, past or not understood.
func retryAfter(value string, now time.Time) time.Duration {
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil {
		return max(0, date.Sub(now))
	}
	return 0
}

func networkFault(target *url.URL, err error) *Fault {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // the outer text repeats the URL with its query
	}
	return &Fault{Endpoint: display(target), Code: "network", Msg: Clip(err.Error()), Verdict: Busy, Cause: err}
}
