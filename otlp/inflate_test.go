package otlp

import (
	"bytes"
	"compress/gzip"
	"strings"
	"testing"
)

func TestInflatedSizeIsBounded(t *testing.T) {
	liar := append(make([]byte, 14), 0xff, 0xff, 0xff, 0xff) // 18 bytes that claim 4 GiB
	if n := inflatedSize(liar); n > 18*1032 {
		t.Errorf("18 bytes are taken to inflate to %d", n)
	}
}

func TestInflate(t *testing.T) {
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	_, _ = w.Write([]byte("payload"))
	_ = w.Close()
	tests := []struct {
		name, encoding string
		data           []byte
		max            int
		want, fault    string
	}{
		{"plain", "", []byte("payload"), 1, "payload", ""},
		{"identity", "identity", []byte("payload"), 1, "payload", ""},
		{"gzip", "gzip", zipped.Bytes(), 7, "payload", ""},
		{"too large", "gzip", zipped.Bytes(), 6, "", "inflates beyond 6 bytes"},
		{"no gzip", "gzip", []byte("payload"), 7, "", "gzip header"},
		{"cut off", "gzip", zipped.Bytes()[:20], 7, "", "gzip body"},
		{"unknown", "br", []byte("payload"), 7, "", `content-encoding is "br"`},
	}
	var z Inflater // one for all: a fault leaves nothing behind
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := z.Inflate(tt.data, map[string]string{AttrContentEncoding: tt.encoding}, tt.max)
			if string(got) != tt.want || (err == nil) != (tt.fault == "") || err != nil && !strings.Contains(err.Error(), tt.fault) {
				t.Errorf("%q, %v; want %q, %q", got, err, tt.want, tt.fault)
			}
		})
	}
}
