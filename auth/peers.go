package auth

import (
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// A peer may be refused refusedBurst times, and once more each second; a bad key in an app that exports every 5 s stays below. The table
// forgets the peer that was refused the longest ago: who has many addresses to send from gains what a refusal costs, some µs.
const (
	refusedBurst = 20
	mostPeers    = 4096
)

// peers remembers whose requests were refused. Safe for concurrent use.
type peers struct {
	mu   sync.Mutex
	seen *simplelru.LRU[netip.Prefix, refusals]
}

// refusals is a bucket: how many were left at a time.
type refusals struct {
	left float64
	at   time.Time
}

func newPeers() *peers {
	seen, err := simplelru.NewLRU[netip.Prefix, refusals](mostPeers, nil)
	if err != nil {
		panic(err) // of a size that is not positive
	}
	return &peers{seen: seen}
}

// refused counts a refusal, and returns how long the peer should wait if there were too many.
func (p *peers) refused(req *http.Request) time.Duration { return p.count(req, 1) }

// wait is how long the peer should wait, without a count.
func (p *peers) wait(req *http.Request) time.Duration { return p.count(req, 0) }

func (p *peers) count(req *http.Request, n float64) time.Duration {
	peer, now := peerOf(req), time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	r, ok := p.seen.Peek(peer)
	if !ok {
		r = refusals{left: refusedBurst}
	} else {
		r.left = min(refusedBurst, r.left+now.Sub(r.at).Seconds())
	}
	r.at = now
	enough := r.left >= 1
	if r.left -= n; r.left < 0 {
		r.left = 0
	}
	if n > 0 {
		p.seen.Add(peer, r)
	}
	if enough {
		return 0
	}
	return time.Second
}

// peerOf is where the request comes from: a network of 64 bits with IPv6, where one machine has as many addresses as it likes. Behind a proxy,
// whose address is a private one, it is what the proxy wrote last into X-Forwarded-For. Who forges that from such a network gets others
// refused more often whose keys are bad as well.
func peerOf(req *http.Request) netip.Prefix {
	var addr netip.Addr
	if ap, err := netip.ParseAddrPort(req.RemoteAddr); err == nil {
		addr = ap.Addr().Unmap()
	}
	if v := req.Header["X-Forwarded-For"]; len(v) > 0 && (addr.IsPrivate() || addr.IsLoopback() || addr.IsLinkLocalUnicast()) {
		all := v[len(v)-1]
		if a, err := netip.ParseAddr(strings.TrimSpace(all[strings.LastIndexByte(all, ',')+1:])); err == nil {
			addr = a.Unmap()
		}
	}
	bits := addr.BitLen()
	if addr.Is6() {
		bits = 64
	}
	prefix, _ := addr.WithZone("").Prefix(bits) // the zero Prefix for an address that nobody can read
	return prefix
}
