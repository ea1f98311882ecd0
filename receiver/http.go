package receiver

import (
	"cmp"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"time"

	spb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"

	"tailweir/otlp"
)

var contentTypes = [encodings]string{Protobuf: "application/x-protobuf", JSON: "application/json"}

// serveHTTP answers a POST of OTLP/HTTP.
func (r *Receiver) serveHTTP(w http.ResponseWriter, req *http.Request, signal otlp.Signal) {
	encoding, ok := encodingOf(first(req.Header, "Content-Type"))
	if !ok {
		w.Header().Set("Accept", contentTypes[Protobuf]+", "+contentTypes[JSON])
		plain(w, http.StatusUnsupportedMediaType, "content type is neither "+contentTypes[Protobuf]+" nor "+contentTypes[JSON])
		return
	}
	c := &call{r: r, signal: signal, encoding: encoding}
	switch coding := first(req.Header, "Content-Encoding"); {
	case strings.EqualFold(coding, "gzip"):
		c.gzip = true
	case strings.EqualFold(coding, "zstd"):
		c.zstd = true
	case coding != "" && !strings.EqualFold(coding, "identity"):
		a := answer{outcome: Unsupported, text: "content encoding " + strconv.Quote(coding) + " is neither gzip, zstd nor identity"}
		r.count(c, a)
		w.Header().Set("Accept-Encoding", "gzip, zstd")
		r.writeHTTP(w, req, c, a)
		return
	}
	r.writeHTTP(w, req, c, c.answer(req))
}

// encodingOf understands parameters such as charset.
func encodingOf(contentType string) (Encoding, bool) {
	for e := Protobuf; e <= JSON; e++ {
		if contentType == contentTypes[e] {
			return e, true
		}
	}
	media, _, err := mime.ParseMediaType(contentType)
	if err != nil || media == contentType {
		return 0, false
	}
	return encodingOf(media)
}

// refuse answers a request that is no export: with a Status if it has a content type of OTLP, whose sender reads that, else with
// a line for people.
func refuse(w http.ResponseWriter, contentType string, status int, code codes.Code, line string) {
	encoding, ok := encodingOf(contentType)
	if !ok {
		plain(w, status, line)
		return
	}
	w.Header()["Content-Type"] = []string{contentTypes[encoding]}
	w.WriteHeader(status)
	w.Write(marshalStatus(&spb.Status{Code: int32(code), Message: validText(line)}, encoding))
}

func (r *Receiver) writeHTTP(w http.ResponseWriter, req *http.Request, c *call, a answer) {
	h := w.Header()
	delay := cmp.Or(a.retry, r.cfg.RetryDelay)
	h["Content-Type"] = []string{contentTypes[c.encoding]}
	known := answers[a.outcome]
	var body []byte
	switch {
	case known.http != http.StatusOK:
		body = marshalStatus(statusOf(a, delay), c.encoding)
	case c.encoding == JSON:
		body = exportResponseJSON(c.signal, a)
	default:
		body = exportResponse(a)
	}
	if known.retry {
		h.Set("Retry-After", strconv.Itoa(int((delay+time.Second-1)/time.Second)))
	}
	denied(h, a.outcome, req.ProtoMajor)
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(known.http)
	w.Write(body)
}
