// Package rawcodec lets gRPC carry messages that are encoded already.
package rawcodec

import (
	"fmt"

	_ "google.golang.org/grpc/encoding/gzip" // both ends may compress
)

// Codec passes *[]byte through as the encoded message. A received slice belongs to the receiver.
type Codec struct{}

// Name is "proto", because that is what the bytes are.
func (Codec) Name() string { return "proto" }

// Marshal gives the bytes themselves.
func (Codec) Marshal(v any) ([]byte, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("marshal %T: want *[]byte", v)
	}
	return *b, nil
}

// Unmarshal copies, because gRPC uses its buffer again.
func (Codec) Unmarshal(data []byte, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("unmarshal %T: want *[]byte", v)
	}
	*b = append((*b)[:0], data...)
	return nil
}
