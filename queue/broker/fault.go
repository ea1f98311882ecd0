package broker

import (
	"context"
	"fmt"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Fault is what befalls calls of one RPC, for tests of those who call. A call
// suffers each fault that matches it, in the order of Inject, until one fails it.
type Fault struct {
	// Method is the name of an RPC, such as "Publish", "StreamingPull" (whose call is
	// the opening) or "ModifyAckDeadline". "Deliver" is each response with messages
	// of a stream or a Pull before it is sent: with Code the stream ends, or the Pull
	// fails, and the leases stand. "" is every RPC, without "Deliver".
	Method string
	Skip   int           // calls that pass before the fault begins
	Count  int           // calls that it then befalls; 0 = all until it is removed
	Delay  time.Duration // how long each waits first; cut short when the call's context ends
	Code   codes.Code    // what it then fails with; OK = it goes on after the delay
	// After lets the call take effect, so that only its answer is lost: a publish
	// is stored, an ack is done, and the caller sees Code. A stream runs to its end; of
	// "Deliver" the response is sent before the stream ends.
	After bool
	// Duplicate is for "Deliver": the messages of the response are sent a second
	// time under the same ack ids, in a Pull within its one response.
	Duplicate bool
}

// fault is an injected Fault; the pointer is its identity.
type fault struct {
	Fault
	calls atomic.Int64
}

// faults is what Inject and DropStreams work on. The zero value is ready.
type faults struct {
	active atomic.Pointer[[]*fault] // never changed in place; nil when there is none, which is all that a call then asks
	hits   atomic.Uint64

	mu      sync.Mutex // for changes of active, and
	streams map[chan error]struct{}
}

// Inject lets f befall the calls that come from now on, until remove is called;
// several may be active. It panics when f.Method is no RPC of Pub/Sub.
func (s *Server) Inject(f Fault) (remove func()) {
	if !hasMethod(f.Method) {
		panic(fmt.Sprintf("broker: Inject: %q is no RPC of Pub/Sub", f.Method))
	}
	injected := &fault{Fault: f}
	s.faults.change(func(all []*fault) []*fault { return append(all, injected) })
	return func() { s.faults.remove(injected) }
}

func hasMethod(name string) bool {
	named := func(m grpc.MethodDesc) bool { return m.MethodName == name }
	return name == "" || name == "Deliver" || name == "StreamingPull" ||
		slices.ContainsFunc(pubsubpb.Publisher_ServiceDesc.Methods, named) ||
		slices.ContainsFunc(pubsubpb.Subscriber_ServiceDesc.Methods, named)
}

// Heal removes all faults; calls that wait out a delay go on waiting.
func (s *Server) Heal() {
	s.faults.change(func([]*fault) []*fault { return nil })
}

// DropStreams ends every open StreamingPull with code and returns how many
// there were; with OK they end as if the client had closed them. Leases stand.
func (s *Server) DropStreams(code codes.Code) int {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	n := len(s.faults.streams)
	for dropped := range s.faults.streams {
		dropped <- status.Errorf(code, "stream dropped by DropStreams")
	}
	s.faults.streams = nil
	return n
}

func (fs *faults) change(edit func([]*fault) []*fault) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	var all []*fault
	if p := fs.active.Load(); p != nil {
		all = slices.Clone(*p)
	}
	if all = edit(all); len(all) == 0 {
		fs.active.Store(nil)
		return
	}
	fs.active.Store(&all)
}

func (fs *faults) remove(f *fault) {
	fs.change(func(all []*fault) []*fault {
		return slices.DeleteFunc(all, func(other *fault) bool { return other == f })
	})
}

// fate is what the faults make of one call.
type fate struct {
	err       error // instead of the call
	lost      error // instead of its answer
	duplicate bool
}

// befall waits out the delays of a call of method.
func (fs *faults) befall(ctx context.Context, method string) (made fate) {
	active := fs.active.Load()
	if active == nil {
		return fate{}
	}
	for _, f := range *active {
		if !fs.hit(f, method) {
			continue
		}
		if err := wait(ctx, f.Delay); err != nil {
			return fate{err: err}
		}
		made.duplicate = made.duplicate || f.Duplicate
		switch err := status.Errorf(f.Code, "%s: injected fault", method); {
		case err != nil && !f.After:
			return fate{err: err}
		case made.lost == nil:
			made.lost = err
		}
	}
	return made
}

// hit counts the call and reports whether f befalls it; the last hit removes f.
func (fs *faults) hit(f *fault, method string) bool {
	if f.Method != method && (f.Method != "" || method == "Deliver") {
		return false
	}
	n := int(f.calls.Add(1)) - f.Skip
	if n <= 0 || f.Count > 0 && n > f.Count {
		return false
	}
	if n == f.Count {
		fs.remove(f)
	}
	fs.hits.Add(1)
	return true
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return status.FromContextError(ctx.Err()).Err()
	}
}

func (fs *faults) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if fs.active.Load() == nil {
		return handler(ctx, req)
	}
	made := fs.befall(ctx, path.Base(info.FullMethod))
	if made.err != nil {
		return nil, made.err
	}
	resp, err := handler(ctx, req)
	if pulled, ok := resp.(*pubsubpb.PullResponse); ok && err == nil && len(pulled.ReceivedMessages) > 0 {
		err = fs.pulled(ctx, pulled)
	}
	if err == nil {
		err = made.lost
	}
	return resp, err
}

func (fs *faults) pulled(ctx context.Context, resp *pubsubpb.PullResponse) error {
	made := fs.befall(ctx, "Deliver")
	if made.duplicate {
		resp.ReceivedMessages = append(resp.ReceivedMessages, resp.ReceivedMessages...)
	}
	if made.err != nil {
		return made.err
	}
	return made.lost
}

// stream runs the handler beside it, because one that is blocked by a client
// that does not read ends only when the stream does.
func (fs *faults) stream(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	dropped := make(chan error, 1)
	fs.enter(dropped)
	defer fs.leave(dropped)
	ended := make(chan error, 1)
	go func() {
		made := fs.befall(ss.Context(), path.Base(info.FullMethod))
		if made.err == nil {
			made.err = handler(srv, faultyStream{ss, fs})
		}
		if made.err == nil {
			made.err = made.lost
		}
		ended <- made.err
	}()
	select {
	case err := <-ended:
		return err
	case err := <-dropped:
		return err
	}
}

func (fs *faults) enter(dropped chan error) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.streams == nil {
		fs.streams = make(map[chan error]struct{})
	}
	fs.streams[dropped] = struct{}{}
}

func (fs *faults) leave(dropped chan error) {
	fs.mu.Lock()
	delete(fs.streams, dropped)
	fs.mu.Unlock()
}

// faultyStream lets the faults of "Deliver" befall what is sent.
type faultyStream struct {
	grpc.ServerStream
	faults *faults
}

func (s faultyStream) SendMsg(m any) error {
	resp, _ := m.(*pubsubpb.StreamingPullResponse)
	if s.faults.active.Load() == nil || len(resp.GetReceivedMessages()) == 0 {
		return s.ServerStream.SendMsg(m)
	}
	made := s.faults.befall(s.Context(), "Deliver")
	if made.err != nil {
		return made.err
	}
	err := s.ServerStream.SendMsg(m)
	if err == nil && made.duplicate {
		err = s.ServerStream.SendMsg(m)
	}
	if err == nil {
		err = made.lost
	}
	return err
}
