package scale

import (
	"fmt"
	"math"
	"strings"
)

// Table is the comparison in Markdown, as docs/scaling.md has it.
func Table(runs [][]Run) string {
	var b strings.Builder
	b.WriteString("| load | signal | worker-hours (needed) | started, ended | short of CPU | hold full | handed back, handed over | decision p50 / p99 / worst | last behind |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|\n")
	for i, row := range runs {
		for j, r := range row {
			name := ""
			if j == 0 {
				name = Loads[i].Name
			}
			drained := "at the end"
			switch {
			case r.Drained == 0:
				drained = "never"
			case r.Drained > 0:
				drained = minutes(r.Drained)
			}
			fmt.Fprintf(&b, "| %s | %s | %.0f (%.0f) | %d, %d | %s | %s | %.0f %%, %.1f %% | %s / %s / %s | %s |\n", name, Contenders()[j].Name,
				r.WorkerHours, r.NeedHours, r.Out, r.In, minutes(r.Short), minutes(r.Full), 100*r.HandedBack/r.Arrived, 100*r.HandedOver/r.Arrived,
				seconds(r.P50), seconds(r.P99), seconds(r.Worst), drained)
		}
	}
	return b.String()
}

func minutes(s int) string { return fmt.Sprintf("%d min", (s+30)/60) }

func seconds(s float64) string {
	if s >= 600 {
		return fmt.Sprintf("%.0f min", s/60)
	}
	return fmt.Sprintf("%.0f s", s)
}

// Sizes of the picture, in pixels.
const (
	plotWidth, plotHeight = 440, 130
	marginLeft, marginTop = 48, 46
	gapX, gapY            = 60, 44
)

var colours = []string{"#1a73e8", "#188038", "#8430ce", "#d93025", "#e37400", "#12858d"}

// SVG draws what Compare returned: workers on the left, decision latency on the right, a row for each load.
func SVG(runs [][]Run) string {
	var b strings.Builder
	width := marginLeft + 2*plotWidth + gapX + 16
	height := marginTop + len(runs)*(plotHeight+gapY) + 40
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" font-family="sans-serif" font-size="11">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/>`+"\n", width, height)
	right := marginLeft + plotWidth + gapX
	text(&b, marginLeft, 18, "start", "Workers; grey: needed for the rate at 60 % CPU")
	text(&b, right, 18, "start", "Seconds from publish to decision")
	for i, row := range runs {
		y := marginTop + i*(plotHeight+gapY)
		text(&b, marginLeft, y-6, "start", Loads[i].Name)
		workers := panel{marginLeft, y, 0, float64(Autoscaler.Max), func(v float64) float64 { return v }}
		latency := panel{right, y, 1, 4, func(v float64) float64 { return math.Log10(max(10, v)) }}
		workers.frame(&b, Loads[i].Seconds, []float64{0, 10, 20, 30, 40})
		latency.frame(&b, Loads[i].Seconds, []float64{10, 100, 1000, 10000})
		workers.area(&b, row[0].Points, func(p Point) float64 { return p.Needed })
		for j := len(row) - 1; j >= 0; j-- { // the first on top
			workers.line(&b, row[j].Points, colours[j], func(p Point) float64 { return float64(p.Workers) })
			latency.line(&b, row[j].Points, colours[j], func(p Point) float64 { return p.Latency })
		}
	}
	x := marginLeft
	for j, c := range Contenders() {
		y := height - 14
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="14" height="3" fill="%s"/>`+"\n", x, y-5, colours[j])
		text(&b, x+18, y, "start", c.Name)
		x += 44 + 6*len([]rune(c.Name))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

type panel struct {
	x, y     int
	from, to float64 // after scale
	scale    func(float64) float64
}

func (p panel) at(v float64) int {
	share := (p.scale(v) - p.from) / (p.to - p.from)
	return p.y + plotHeight - int(math.Round(min(1, max(0, share))*plotHeight))
}

func (p panel) frame(b *strings.Builder, length int, marks []float64) {
	for _, v := range marks {
		fmt.Fprintf(b, `<path d="M%d %dh%d" stroke="#ddd"/>`+"\n", p.x, p.at(v), plotWidth)
		text(b, p.x-6, p.at(v)+4, "end", fmt.Sprint(v))
	}
	for i := range 5 {
		x := p.x + i*plotWidth/4
		text(b, x, p.y+plotHeight+14, "middle", fmt.Sprintf("%.3g h", float64(length)*float64(i)/4/3600))
	}
}

// columns are the greatest values of each pixel's seconds.
func columns(points []Point, value func(Point) float64) []float64 {
	out := make([]float64, plotWidth)
	for x := range out {
		from, to := x*len(points)/plotWidth, (x+1)*len(points)/plotWidth
		for _, p := range points[from:max(to, from+1)] {
			out[x] = max(out[x], value(p))
		}
	}
	return out
}

func (p panel) line(b *strings.Builder, points []Point, colour string, value func(Point) float64) {
	fmt.Fprintf(b, `<path fill="none" stroke="%s" stroke-width="1.5" d="%s"/>`+"\n", colour, p.path(points, value))
}

func (p panel) area(b *strings.Builder, points []Point, value func(Point) float64) {
	fmt.Fprintf(b, `<path fill="#e8eaed" d="%sV%dH%dz"/>`+"\n", p.path(points, value), p.y+plotHeight, p.x)
}

// path moves only where the height changes, so that the file stays small.
func (p panel) path(points []Point, value func(Point) float64) string {
	var b strings.Builder
	last := -1
	for i, v := range columns(points, value) {
		switch y := p.at(v); {
		case i == 0:
			fmt.Fprintf(&b, "M%d %d", p.x, y)
			last = y
		case y != last:
			fmt.Fprintf(&b, "H%dV%d", p.x+i, y)
			last = y
		}
	}
	fmt.Fprintf(&b, "H%d", p.x+plotWidth)
	return b.String()
}

func text(b *strings.Builder, x, y int, anchor, s string) {
	fmt.Fprintf(b, `<text x="%d" y="%d" text-anchor="%s" fill="#333">%s</text>`+"\n", x, y, anchor, s)
}
