package receiver

import "sync/atomic"

// budget bounds a sum. Safe for concurrent use.
type budget struct {
	max  int64
	used atomic.Int64
}

// take adds n unless that exceeds the bound. Two takers that together exceed it near the bound may both be
// refused, which is as good as being late.
func (b *budget) take(n int64) bool {
	if b.used.Add(n) > b.max {
		b.used.Add(-n)
		return false
	}
	return true
}

// fits reports whether take(n) would succeed now.
func (b *budget) fits(n int64) bool { return b.used.Load()+n <= b.max }

func (b *budget) give(n int64) { b.used.Add(-n) }
