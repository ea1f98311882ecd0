package receiver

import (
	"errors"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// conns bounds the connections of all listeners of a Receiver. netutil.LimitListener would leave the one too many waiting in the
// kernel, so that as many silent connections as the bound shut out everybody for IdleTimeout. Here the newcomer takes the place of
// one without a request: an app whose idle connection is closed opens another with its next batch.
type conns struct {
	max     int
	closed  atomic.Uint64 // in favour of another
	refused atomic.Uint64

	mu   sync.Mutex
	open map[*conn]struct{}
}

// conn is a connection that is counted.
type conn struct {
	net.Conn
	all  *conns
	idle atomic.Int64 // unix time in ns since when it has no request; 0 while it has one
}

// listen returns l with its connections counted.
func (cs *conns) listen(l net.Listener) net.Listener { return &countedListener{l, cs} }

type countedListener struct {
	net.Listener
	all *conns
}

// Accept returns the next connection that there is room for.
func (l *countedListener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
			l.all.closeIdle() // the process's files are less than the bound; net/http will try again
		}
		if err != nil {
			return nil, err
		}
		if c := l.all.admit(nc); c != nil {
			return c, nil
		}
		nc.Close()
	}
}

// admit counts the connection, or returns nil if all are busy.
func (cs *conns) admit(nc net.Conn) *conn {
	c := &conn{Conn: nc, all: cs}
	c.idle.Store(time.Now().UnixNano())
	cs.mu.Lock()
	full := len(cs.open) >= cs.max
	cs.mu.Unlock()
	if full && !cs.closeIdle() {
		cs.refused.Add(1)
		return nil
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.open[c] = struct{}{}
	return c
}

// closeIdle closes the connection that has been idle for longest, of 64 taken at random: with more than that it need not be the very
// longest, and a flood of connections does not cost a look at each of ten thousand.
func (cs *conns) closeIdle() bool {
	var oldest *conn
	var since int64
	seen := 0
	cs.mu.Lock()
	for c := range cs.open {
		idle := c.idle.Load()
		if idle == 0 {
			continue
		}
		if oldest == nil || idle < since {
			oldest, since = c, idle
		}
		if seen++; seen == 64 {
			break
		}
	}
	if oldest != nil {
		delete(cs.open, oldest)
	}
	cs.mu.Unlock()
	if oldest == nil {
		return false
	}
	cs.closed.Add(1)
	oldest.Conn.Close()
	return true
}

// state is http.Server.ConnState. A connection is idle until its first request is read, also while that comes slowly.
func (cs *conns) state(nc net.Conn, state http.ConnState) {
	c, ok := nc.(*conn)
	if !ok {
		return
	}
	switch state {
	case http.StateActive:
		c.idle.Store(0)
	case http.StateIdle:
		c.idle.Store(time.Now().UnixNano())
	}
}

func (cs *conns) count() int64 {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return int64(len(cs.open))
}

// Close closes the connection, which is counted no more.
func (c *conn) Close() error {
	c.all.mu.Lock()
	delete(c.all.open, c)
	c.all.mu.Unlock()
	return c.Conn.Close()
}
