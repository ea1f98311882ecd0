package otlp

// A metrics payload is scanned like the others, with a Metric, which has any number of data points, as its item: Select,
// Split, Index and Writer serve it, and all its items are of one group, that of no trace. Views read of it what they read of a resource
// and a scope.

// The kinds of data that a Metric has one of, by field number.
const dataFields = 1<<5 | 1<<7 | 1<<9 | 1<<10 | 1<<11

func isData(tag uint64) bool { return tag&7 == wireLen && tag>>3 < 12 && dataFields>>(tag>>3)&1 != 0 }

const pointTag = 1<<3 | wireLen // in each kind of data

// scanMetric reads and checks the Metric from pos to the end of b. The item's kind becomes the number of its data points: those of the
// last occurrence of its data, as pdata reads it.
func (it *item) scanMetric(b []byte, pos int, d *nesting) (err *ScanError) {
	for pos < len(b) {
		at := pos
		tag, next := readTag(b, at)
		if next < 0 {
			return badTag(at, metric)
		}
		if pos, err = d.checkField(b, at, next, tag, metric); err != nil {
			return err
		}
		if isData(tag) {
			start, _ := chunk(b, next)
			it.kind = countPoints(b[start:pos])
		}
	}
	return nil
}

func countPoints(data []byte) (n int32) {
	f := fields{b: data}
	for tag, _, _, ok := f.next(); ok; tag, _, _, ok = f.next() {
		if tag == pointTag {
			n++
		}
	}
	return n
}

// PointsOf returns the number of data points of item i of a metrics payload, 0 <= i < Len.
func (p *Payload) PointsOf(i int32) int { return int(p.items[i].kind) }

// Points returns the number of data points of a metrics payload.
func (p *Payload) Points() (n int) {
	for i := range p.items {
		n += int(p.items[i].kind)
	}
	return n
}

// CutPoints returns the metrics payload p as an export request in which no metric has more than max points: one that has more
// comes several times, with all that it says beside its points, as OTLP allows. Where none has, the request is p's own bytes.
func CutPoints(p *Payload, max int) []byte {
	whole := true
	for i := range p.items {
		whole = whole && int(p.items[i].kind) <= max
	}
	if whole {
		return p.b
	}
	var w Writer
	w.Start(make([]byte, 0, len(p.b)+len(p.b)/8), p, "", "")
	for i := range int32(p.Len()) {
		if p.PointsOf(i) <= max {
			w.Item(i, nil)
			continue
		}
		for _, m := range cutMetric(p.body(i), max) {
			w.put(i, m, nil)
		}
	}
	return w.Bytes()
}

// cutMetric makes Metrics of at most max points each of one.
func cutMetric(body []byte, max int) (all [][]byte) {
	var head, data []byte
	var tag uint64
	f := fields{b: body}
	for at := 0; at < len(body); at = f.pos {
		t, _, value, _ := f.next()
		if isData(t) {
			tag, data = t, value // the last one counts
			continue
		}
		head = append(head, body[at:f.pos]...)
	}
	var rest []byte // of the data, without points
	f = fields{b: data}
	for at := 0; at < len(data); at = f.pos {
		if t, _, _, _ := f.next(); t != pointTag {
			rest = append(rest, data[at:f.pos]...)
		}
	}
	n, from := 0, 0
	flush := func(points []byte) {
		m := appendField(append([]byte(nil), head...), byte(tag), len(rest)+len(points))
		all = append(all, append(append(m, rest...), points...))
		n = 0
	}
	var points []byte
	f = fields{b: data}
	for from < len(data) {
		if t, _, _, _ := f.next(); t == pointTag {
			points = append(points, data[from:f.pos]...)
			n++
		}
		from = f.pos
		if n == max {
			flush(points)
			points = points[:0]
		}
	}
	if n > 0 {
		flush(points)
	}
	return all
}
