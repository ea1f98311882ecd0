package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// progress is a bar on standard error, where that is a terminal: nowhere else.
type progress struct {
	out         io.Writer // nil: none
	done, total int64     // bytes; total 0: unknown
	shown       time.Time
}

func newProgress(files []*os.File) *progress {
	p := &progress{total: sizeOf(files)}
	if term.IsTerminal(int(os.Stderr.Fd())) {
		p.out = os.Stderr
	}
	return p
}

// sizeOf is 0 when one of the files is no plain file.
func sizeOf(files []*os.File) (size int64) {
	for _, f := range files {
		info, err := f.Stat()
		if err != nil || !info.Mode().IsRegular() {
			return 0
		}
		size += info.Size()
	}
	return size
}

// add counts n bytes more, and shows the bar ten times a second.
func (p *progress) add(n, traces int) {
	p.done += int64(n)
	if now := time.Now(); p.out != nil && now.Sub(p.shown) >= 100*time.Millisecond {
		p.shown = now
		fmt.Fprintf(p.out, "\r\x1b[K%s", p.bar(traces))
	}
}

func (p *progress) bar(traces int) string {
	read := fmt.Sprintf("%.1f MB, %d traces", float64(p.done)/1e6, traces)
	if p.total == 0 {
		return read
	}
	const width = 30
	part := min(1, float64(p.done)/float64(p.total))
	full := int(part * width)
	return fmt.Sprintf("[%s%s] %3.0f %%, %s", strings.Repeat("=", full), strings.Repeat(" ", width-full), 100*part, read)
}

// end takes the bar away.
func (p *progress) end() {
	if p.out != nil && !p.shown.IsZero() {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
