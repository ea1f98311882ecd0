package exporter

import (
	"io"
	"runtime"
	"sync"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/grpc/encoding"
)

func init() { encoding.RegisterCompressor(new(zstdCodec)) } // grpc asks for it to be during initialization

// zstdCodec is zstd for gRPC, whose library has gzip alone.
type zstdCodec struct{ encoders sync.Pool } // *zstd.Encoder: some hundred KB each, so they are reused

func (*zstdCodec) Name() string { return CompressionZstd }

func (c *zstdCodec) Compress(w io.Writer) (io.WriteCloser, error) {
	e, _ := c.encoders.Get().(*zstd.Encoder)
	if e == nil {
		e = newZstd(1)
	}
	e.Reset(w)
	return &zstdWriter{e, &c.encoders}, nil
}

// Decompress is for answers, which are a few bytes. The bounds are for those of strangers.
func (*zstdCodec) Decompress(r io.Reader) (io.Reader, error) {
	return zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(8<<20), zstd.WithDecoderMaxMemory(64<<20))
}

type zstdWriter struct {
	*zstd.Encoder
	pool *sync.Pool
}

// Close ends the frame. grpc calls it once.
func (w *zstdWriter) Close() error {
	defer w.pool.Put(w.Encoder)
	return w.Encoder.Close()
}

// zstdAll compresses for HTTP.
var zstdAll = func() func([]byte) []byte {
	e := sync.OnceValue(func() *zstd.Encoder { return newZstd(runtime.GOMAXPROCS(0)) })
	return func(b []byte) []byte { return e().EncodeAll(b, make([]byte, 0, len(b)/8+64)) }
}()

// newZstd is at the fastest level, as gzip is: telemetry repeats itself. atOnce is how many EncodeAll may run at a time.
func newZstd(atOnce int) *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(atOnce), zstd.WithLowerEncoderMem(true))
	if err != nil {
		panic("zstd options: " + err.Error())
	}
	return e
}
