package cloudtrace

import (
	"fmt"
	"hash/fnv"
	"strings"
	"unicode/utf8"

	"go.opentelemetry.io/otel/attribute"
)

// label is one of the labels that Cloud Trace shows in columns of their own and searches by.
type label uint8

const (
	noLabel label = iota
	labelHost
	labelMethod
	labelPath
	labelRoute
	labelStatus
	labelURL
	labelAgent
	labelRequestSize
	labelResponseSize
	labels // their number
)

var labelKeys = [labels]attribute.Key{
	labelHost: "/http/host", labelMethod: "/http/method", labelPath: "/http/path", labelRoute: "/http/route",
	labelStatus: "/http/status_code", labelURL: "/http/url", labelAgent: "/http/user_agent",
	labelRequestSize: "/http/request/size", labelResponseSize: "/http/response/size",
}

// source is an attribute that a label is made of. Several of one span may be there for the same label: the first as listed
// counts, the label itself, then current conventions, then older ones. General ones count only for a span that has one
// that is of HTTP alone: a database has a server.address, too.
type source struct {
	key     string
	label   label
	general bool
}

var sources = []source{
	{key: "/http/host", label: labelHost},
	{key: "server.address", label: labelHost, general: true},
	{key: "http.host", label: labelHost},
	{key: "net.host.name", label: labelHost, general: true},
	{key: "/http/method", label: labelMethod},
	{key: "http.request.method", label: labelMethod},
	{key: "http.method", label: labelMethod},
	{key: "/http/path", label: labelPath},
	{key: "url.path", label: labelPath, general: true},
	{key: "http.path", label: labelPath},
	{key: "http.target", label: labelPath},
	{key: "/http/route", label: labelRoute},
	{key: "http.route", label: labelRoute},
	{key: "/http/status_code", label: labelStatus},
	{key: "http.response.status_code", label: labelStatus},
	{key: "http.status_code", label: labelStatus},
	{key: "/http/url", label: labelURL},
	{key: "url.full", label: labelURL, general: true},
	{key: "http.url", label: labelURL},
	{key: "/http/user_agent", label: labelAgent},
	{key: "user_agent.original", label: labelAgent, general: true},
	{key: "http.user_agent", label: labelAgent},
	{key: "/http/request/size", label: labelRequestSize},
	{key: "http.request.body.size", label: labelRequestSize},
	{key: "http.request_content_length", label: labelRequestSize},
	{key: "/http/response/size", label: labelResponseSize},
	{key: "http.response.body.size", label: labelResponseSize},
	{key: "http.response_content_length", label: labelResponseSize},
}

// key is what becomes of an attribute's key.
type key struct {
	name    attribute.Key
	source  uint8 // 1 + index in sources, 0 for none
	shorter bool
}

var sourceIndex = func() map[string]uint8 {
	m := make(map[string]uint8, len(sources))
	for i, s := range sources {
		m[s.key] = uint8(i + 1)
	}
	return m
}()

// newKey makes a key fit: one that is no UTF-8 would make the whole request impossible to encode, and the package leaves an
// attribute out whose key is too long. What is cut off a key becomes a hash, so that two keys do not become one.
func newKey(s string) key {
	k := key{source: sourceIndex[s]}
	s = strings.ToValidUTF8(s, "\uFFFD")
	if s == "" {
		s = "(empty)" // the API takes no empty key
	}
	if len(s) > maxKey {
		k.shorter = true
		h := fnv.New64a()
		h.Write([]byte(s))
		s = fmt.Sprintf("%s~%016x", clip(s, maxKey-17), h.Sum64())
	}
	k.name = attribute.Key(s)
	return k
}

// clip cuts valid UTF-8 between two characters to at most n bytes.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
