package otelcol

import (
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"tailweir/service"
	"tailweir/strictyaml"
)

// settings is a mapping of a component's. What is asked of it counts as carried over; the rest is lost. A nil one is empty.
type settings struct {
	t     *translation
	path  string
	pairs []strictyaml.Pair
	asked []string
	subs  []*settings
}

func (t *translation) settings(c *component) *settings { return t.mapping(c.settings, c.path()) }

func (t *translation) mapping(n *yaml.Node, path string) *settings {
	s := &settings{t: t, path: path}
	if isNull(n) {
		return s
	}
	scratch := strictyaml.NewDecoder("") // what is no mapping here is the collector's fault to find
	s.pairs, _ = scratch.Mapping(n, path)
	for _, p := range s.pairs {
		t.d.Mark(path+"."+p.Name, p.Key)
	}
	return s
}

func (s *settings) get(key string) *yaml.Node {
	if s == nil {
		return nil
	}
	s.asked = append(s.asked, key)
	for _, p := range s.pairs {
		if p.Name == key {
			return p.Value
		}
	}
	return nil
}

// decode reads a value as Tailweir does; what it does not take is lost, with the reason.
func (s *settings) decode(key string, into any) {
	n := s.get(key)
	if n == nil || isNull(n) {
		return
	}
	scratch := strictyaml.NewDecoder("")
	if scratch.Decode(n, "", into); scratch.Err() != nil {
		s.t.lose(s.path+"."+key, "%s", scratch.Err().(strictyaml.Faults)[0].Msg)
	}
}

func (s *settings) text(key string) (v string)        { s.decode(key, &v); return v }
func (s *settings) truth(key string) (v bool)         { s.decode(key, &v); return v }
func (s *settings) wait(key string) (v time.Duration) { s.decode(key, &v); return v }
func (s *settings) texts(key string) (v map[string]string) {
	if s.decode(key, &v); len(v) == 0 {
		return nil
	}
	return v
}

// literal is a text that Tailweir could not do without: one with variables is none.
func (s *settings) literal(key string) string {
	v := s.text(key)
	if n := s.get(key); n != nil && s.t.variables[n] {
		s.t.lose(s.path+"."+key, "is %s: Tailweir reads no variables in its file, write what it stands for", v)
		return ""
	}
	return v
}

// sub is the mapping at key, the same one each time; nil where there is none.
func (s *settings) sub(key string) *settings {
	n := s.get(key)
	if n == nil {
		return nil
	}
	path := s.path + "." + key
	if i := slices.IndexFunc(s.subs, func(known *settings) bool { return known.path == path }); i >= 0 {
		return s.subs[i]
	}
	s.subs = append(s.subs, s.t.mapping(n, path))
	return s.subs[len(s.subs)-1]
}

func (s *settings) loseRest(why string) {
	if s == nil {
		return
	}
	for _, p := range s.pairs {
		if !slices.Contains(s.asked, p.Name) {
			s.t.lose(s.path+"."+p.Name, "%s", why)
		}
	}
}

// common is what exporters over gRPC and HTTP share.
func (s *settings) common() service.ExporterConfig {
	e := service.ExporterConfig{Type: "otlp", Timeout: s.wait("timeout"), Headers: s.texts("headers")}
	switch c := s.text("compression"); c {
	case "", "gzip":
	case "zstd", "none":
		e.Compression = service.Compression(c)
	default:
		s.t.lose(s.path+".compression", "%q: Tailweir compresses with gzip or zstd", c)
	}
	if tls := s.sub("tls"); tls != nil {
		e.TLS = service.TLSConfig{
			CAFile: tls.text("ca_file"), CertFile: tls.text("cert_file"), KeyFile: tls.text("key_file"),
			Insecure: tls.truth("insecure_skip_verify"),
		}
		tls.truth("insecure")
	}
	return e
}

// done says what of an exporter's settings is lost.
func (s *settings) done() {
	for _, key := range []string{"sending_queue", "retry_on_failure"} {
		if s.get(key) != nil {
			s.t.lose(s.path+"."+key, "Tailweir retries until the backend takes the data; what waits stays in Pub/Sub")
		}
	}
	s.sub("tls").loseRest("Tailweir's exporters have no such setting")
	s.loseRest("Tailweir's exporters have no such setting")
}
