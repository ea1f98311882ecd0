package receiver

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"io"
	"net/http"
	"strings"

	"google.golang.org/grpc/codes"
)

// gRPC-Web is gRPC for browsers, whose scripts see neither HTTP/2 frames nor trailers: any version of HTTP, the trailers in a
// frame of the body, and with the text variant all of it in base64. The calls are those of gRPC: a request is unwrapped, answered
// by serveGRPC and the answer wrapped, which costs a copy of an answer of a few bytes.
const (
	webType     = "application/grpc-web"
	webTextType = "application/grpc-web-text"

	webTrailer = 0x80 // flag of the frame with the trailers
)

// isGRPCWeb reports application/grpc-web and application/grpc-web-text, with +codec or without.
func isGRPCWeb(contentType string) bool {
	rest, ok := strings.CutPrefix(contentType, webType)
	if !ok {
		return false
	}
	rest = strings.TrimPrefix(rest, "-text")
	return rest == "" || rest[0] == '+' || rest[0] == ';'
}

// serveWeb answers a unary call of gRPC-Web.
func (r *Receiver) serveWeb(w http.ResponseWriter, req *http.Request, contentType string) {
	codec, text := strings.CutPrefix(contentType, webTextType)
	if !text {
		codec = strings.TrimPrefix(contentType, webType)
	}
	inner := *req
	inner.ProtoMajor, inner.ProtoMinor = 2, 0
	if text {
		inner.Body = &base64Body{src: req.Body}
	}
	out := &webAnswer{header: http.Header{}}
	if _, known := grpcSignals[req.URL.Path]; !known && req.URL.Path != healthCheck && req.Method == http.MethodPost {
		writeGRPCStatus(out, codes.Unimplemented, "unknown method "+req.URL.Path+", or none of gRPC-Web", nil)
	} else {
		r.serveGRPC(out, &inner, "application/grpc"+codec)
	}
	out.write(w, text)
}

// webAnswer keeps what serveGRPC writes.
type webAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (a *webAnswer) Header() http.Header         { return a.header }
func (a *webAnswer) WriteHeader(status int)      { a.status = status }
func (a *webAnswer) Write(b []byte) (int, error) { return a.body.Write(b) }

// write sends a call's answer as gRPC-Web; what is none, as 405, goes as it is.
func (a *webAnswer) write(w http.ResponseWriter, text bool) {
	h := w.Header()
	called := first(a.header, "Content-Type") == grpcContentType[0]
	var trailers []byte
	for key, values := range a.header {
		name := strings.TrimPrefix(key, http.TrailerPrefix)
		if called && strings.HasPrefix(name, "Grpc-") && name != "Grpc-Accept-Encoding" {
			trailers = append(append(append(trailers, strings.ToLower(name)...), ':'), values[0]...)
			trailers = append(trailers, "\r\n"...)
		} else {
			h[key] = values
		}
	}
	if !called {
		if a.status != 0 {
			w.WriteHeader(a.status)
		}
		w.Write(a.body.Bytes())
		return
	}
	a.body.WriteByte(webTrailer)
	a.body.Write(binary.BigEndian.AppendUint32(nil, uint32(len(trailers))))
	a.body.Write(trailers)
	h["Content-Type"] = []string{webType + "+proto"}
	body := a.body.Bytes()
	if text {
		h["Content-Type"] = []string{webTextType + "+proto"}
		body = base64.StdEncoding.AppendEncode(nil, body)
	}
	w.Write(body)
}

// base64Body decodes what comes in base64, in one piece or in several that were encoded each by itself, with padding
// between them: so clients write frames.
type base64Body struct {
	src  io.ReadCloser
	text [1 << 10]byte
	have int // of text, read and not decoded
	room [768]byte
	out  []byte // of room, decoded and not read
	err  error
}

func (b *base64Body) Close() error { return b.src.Close() }

func (b *base64Body) Read(p []byte) (int, error) {
	for len(b.out) == 0 {
		if b.have < 4 && b.err != nil {
			if b.err == io.EOF && b.have > 0 {
				return 0, faultf(Malformed, "grpc-web-text: body ends within four characters of base64")
			}
			return 0, b.err
		}
		if b.have < 4 {
			var n int
			n, b.err = b.src.Read(b.text[b.have:])
			b.have += n
			continue
		}
		if err := b.decode(); err != nil {
			return 0, err
		}
	}
	n := copy(p, b.out)
	b.out = b.out[n:]
	return n, nil
}

// decode turns the whole groups of four characters in text into out, up to the first with padding.
func (b *base64Body) decode() error {
	groups := b.have &^ 3
	if pad := bytes.IndexByte(b.text[:groups], '='); pad >= 0 {
		groups = pad&^3 + 4
	}
	n, err := base64.StdEncoding.Decode(b.room[:], b.text[:groups])
	if err != nil {
		return faultf(Malformed, "grpc-web-text: %v", err)
	}
	b.out = b.room[:n]
	b.have = copy(b.text[:], b.text[groups:b.have])
	return nil
}
