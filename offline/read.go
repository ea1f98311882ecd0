package offline

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

const (
	// maxRequest bounds the memory that one request takes, inflated. The collector's exporters write a few megabytes.
	maxRequest = 1 << 30

	// window is how far the content is looked at to tell its form.
	window = 64 << 10

	// firstTag is how every protobuf request begins that says something. Lengths, which are below maxFrame, begin lower.
	firstTag = 1<<3 | 2
	maxFrame = firstTag<<24 - 1
)

// Read reads one file to its end. Errors begin with name and the place: a line of JSON, else a byte, after decompression. After
// an error the set of traces is of no use.
func (t *Traces) Read(name string, r io.Reader) error { return reader{t}.read(name, r) }

// sink takes what is read: requests as JSON, with the keys of the outermost object, and as protobuf, which stood alone in its file or
// framed, with its length before it.
type sink interface {
	addJSON(value []byte, keys []string) error
	addProto(request []byte, framed bool) error
}

type reader struct{ sink }

func (t reader) read(name string, r io.Reader) error {
	in := bufio.NewReaderSize(r, window)
	in, closer, err := inflated(in)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer closer()
	head, err := in.Peek(window)
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return fmt.Errorf("%s: %w", name, err)
	case len(bytes.TrimSpace(head)) == 0 && len(head) < window: // nothing, which is a request of nothing
		return nil
	case isJSON(head):
		return t.readJSON(in, func(line int) string { return fmt.Sprintf("%s:%d", name, line) })
	case head[0] < firstTag:
		return t.readFrames(name, in)
	case head[0] != firstTag:
		return fmt.Errorf("%s: byte 0: neither OTLP JSON nor OTLP protobuf", name)
	}
	request, err := readAll(in)
	if err == nil {
		err = t.addProto(request, false)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// isJSON tells JSON from protobuf, where "\n{" may stand for a message of 123 bytes: that has bytes that no text has.
func isJSON(head []byte) bool {
	text := bytes.TrimLeft(head, " \t\r\n")
	return len(text) > 0 && text[0] == '{' && !bytes.ContainsFunc(head, func(r rune) bool {
		return r < ' ' && r != '\t' && r != '\r' && r != '\n'
	})
}

// inflated is in without its compression.
func inflated(in *bufio.Reader) (out *bufio.Reader, closer func(), err error) {
	magic, _ := in.Peek(4)
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, nil, err
		}
		return bufio.NewReaderSize(inflating{z}, window), func() {}, nil
	case bytes.Equal(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxRequest))
		if err != nil {
			return nil, nil, err
		}
		return bufio.NewReaderSize(inflating{z}, window), z.Close, nil
	}
	return in, func() {}, nil
}

// inflating says in plain words that compressed data ends too soon.
type inflating struct{ r io.Reader }

func (i inflating) Read(b []byte) (int, error) {
	n, err := i.r.Read(b)
	if errors.Is(err, io.ErrUnexpectedEOF) {
		err = errCutOff
	}
	return n, err
}

func readAll(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxRequest+1))
	if err == nil && len(b) > maxRequest {
		err = fmt.Errorf("a request is longer than %d bytes", maxRequest)
	}
	return b, err
}

// readFrames reads what the collector's file exporter writes as proto, or compressed: a length before each request.
func (t reader) readFrames(name string, in *bufio.Reader) error {
	var frame []byte
	at := int64(0)
	for {
		length, err := readLength(in)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			if frame, err = readFrame(in, frame, length); err == nil {
				err = t.readOne(frame)
			}
		}
		if err != nil {
			return fmt.Errorf("%s: request of %d bytes at byte %d: %w", name, length, at, err)
		}
		at += 4 + int64(length)
	}
}

var errCutOff = errors.New("cut off by the end of the file")

func readLength(in *bufio.Reader) (int, error) {
	var b [4]byte
	switch _, err := io.ReadFull(in, b[:]); {
	case errors.Is(err, io.ErrUnexpectedEOF):
		return 0, errCutOff
	case err != nil:
		return 0, err
	}
	n := int(binary.BigEndian.Uint32(b[:]))
	if n > maxFrame {
		return n, fmt.Errorf("longer than %d bytes: not the length of a request", maxFrame)
	}
	return n, nil
}

// readFrame reuses buf. It takes memory for what is there, not for what a length says.
func readFrame(in io.Reader, buf []byte, length int) ([]byte, error) {
	b := bytes.NewBuffer(buf[:0])
	n, err := io.Copy(b, io.LimitReader(in, int64(length)))
	if err == nil && n < int64(length) {
		err = errCutOff
	}
	return b.Bytes(), err
}

// readOne reads the content of a frame.
func (t reader) readOne(frame []byte) error {
	in, closer, err := inflated(bufio.NewReaderSize(bytes.NewReader(frame), 16))
	if err != nil {
		return err
	}
	defer closer()
	content, err := readAll(in)
	if err != nil {
		return err
	}
	if isJSON(content[:min(len(content), window)]) {
		return t.readJSON(bufio.NewReader(bytes.NewReader(content)), func(line int) string { return fmt.Sprintf("line %d of it", line) })
	}
	return t.addProto(content, true)
}
