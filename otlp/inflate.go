package otlp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
)

// Inflater reads the data of messages as the app made it. It serves one at a time; the zero value is ready, and is best used again
// for its buffers of 40 KiB.
type Inflater struct{ gzip *gzip.Reader }

// Inflate returns the export request in a message: its data, or what the attribute content-encoding says is compressed in it, of at most max
// bytes. The result does not alias the Inflater.
func (z *Inflater) Inflate(data []byte, attributes map[string]string, max int) ([]byte, error) {
	switch enc := attributes[AttrContentEncoding]; enc {
	case "", "identity":
		return data, nil
	case EncodingGzip:
	default:
		return nil, fmt.Errorf("attribute %s is %q, want %q or none", AttrContentEncoding, enc, EncodingGzip)
	}
	if err := z.reset(data); err != nil {
		return nil, fmt.Errorf("gzip header: %w", err)
	}
	var out bytes.Buffer
	out.Grow(min(max, inflatedSize(data)) + bytes.MinRead) // MinRead: ReadFrom would grow a full buffer once more
	n, err := out.ReadFrom(io.LimitReader(z.gzip, int64(max)+1))
	if err != nil {
		return nil, fmt.Errorf("gzip body: %w", err)
	}
	if n > int64(max) {
		return nil, fmt.Errorf("gzip body: inflates beyond %d bytes", max)
	}
	return out.Bytes(), nil
}

func (z *Inflater) reset(data []byte) (err error) {
	if z.gzip == nil {
		z.gzip, err = gzip.NewReader(bytes.NewReader(data))
		return err
	}
	return z.gzip.Reset(bytes.NewReader(data))
}

// inflatedSize reads the size that a gzip trailer claims (RFC 1952, ISIZE), which is a hint only, and never more than a
// deflate stream can inflate to (1032:1).
func inflatedSize(data []byte) int {
	if len(data) < 18 {
		return 0
	}
	return min(int(binary.LittleEndian.Uint32(data[len(data)-4:])), len(data)*1032)
}
