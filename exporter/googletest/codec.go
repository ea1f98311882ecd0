package googletest

import (
	"context"
	"fmt"

	"google.golang.org/grpc/stats"
	"google.golang.org/protobuf/proto"
)

// codec carries messages, and as *[]byte those that are wanted as they came.
type codec struct{}

func (codec) Name() string { return "proto" }

func (codec) Marshal(v any) ([]byte, error) {
	switch v := v.(type) {
	case *[]byte:
		return *v, nil
	case proto.Message:
		return proto.Marshal(v)
	}
	return nil, fmt.Errorf("marshal %T: neither a message nor bytes", v)
}

// Unmarshal copies bytes, because gRPC uses its buffer again.
func (codec) Unmarshal(data []byte, v any) error {
	switch v := v.(type) {
	case *[]byte:
		*v = append((*v)[:0], data...)
		return nil
	case proto.Message:
		return proto.Unmarshal(data, v)
	}
	return fmt.Errorf("unmarshal %T: neither a message nor bytes", v)
}

// wire is what handlers do not see of a request.
type wire struct {
	bytes    int    // of the message, decompressed
	encoding string // grpc-encoding
}

type wireKey struct{}

func wireOf(ctx context.Context) *wire { return ctx.Value(wireKey{}).(*wire) }

// tap notes it.
type tap struct{}

func (tap) TagRPC(ctx context.Context, _ *stats.RPCTagInfo) context.Context {
	return context.WithValue(ctx, wireKey{}, new(wire))
}

func (tap) HandleRPC(ctx context.Context, s stats.RPCStats) {
	switch s := s.(type) {
	case *stats.InHeader:
		wireOf(ctx).encoding = s.Compression
	case *stats.InPayload:
		wireOf(ctx).bytes = s.Length
	}
}

func (tap) TagConn(ctx context.Context, _ *stats.ConnTagInfo) context.Context { return ctx }
func (tap) HandleConn(context.Context, stats.ConnStats)                       {}
