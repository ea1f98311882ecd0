package console

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// maxText is the length in bytes up to which a value is shown; the JSON has all of it.
const maxText = 4 << 10

// number groups the digits: 1,234,567.
func number(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}

// rate shows small rates with one digit, so that a slow app is not "0".
func rate(perSecond float64) string {
	if perSecond > 0 && perSecond < 10 {
		return strconv.FormatFloat(perSecond, 'f', 1, 64)
	}
	return number(int64(perSecond + 0.5))
}

func size(n int64) string {
	units := []string{"KiB", "MiB", "GiB", "TiB"}
	v, unit := float64(n), "B"
	for i := 0; v >= 1000 && i < len(units); i++ {
		v, unit = v/1024, units[i]
	}
	if unit == "B" || v >= 100 {
		return fmt.Sprintf("%.0f %s", v, unit)
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}

// duration has three digits and the unit that suits them.
func duration(d time.Duration) string {
	switch {
	case d == 0:
		return "0 s"
	case d < 0:
		return "-" + duration(-d)
	case d < time.Microsecond:
		return fmt.Sprintf("%d ns", d.Nanoseconds())
	case d < time.Millisecond:
		return digits3(float64(d)/1e3) + " µs"
	case d < time.Second:
		return digits3(float64(d)/1e6) + " ms"
	case d < 2*time.Minute:
		return digits3(d.Seconds()) + " s"
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
	}
	return fmt.Sprintf("%d d %d h", int(d.Hours())/24, int(d.Hours())%24)
}

func digits3(v float64) string {
	switch {
	case v >= 99.95:
		return strconv.FormatFloat(v, 'f', 0, 64)
	case v >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatFloat(v, 'f', 2, 64)
}

// ago is coarse on purpose: the page is redrawn every two seconds and should not flicker.
func ago(now, t time.Time) string {
	d := now.Sub(t)
	switch {
	case t.IsZero() || t.UnixNano() == 0:
		return "no time"
	case d < time.Second:
		return "just now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h ago", int(d.Hours()))
	}
	return t.UTC().Format("2006-01-02 15:04")
}

// percent is a fraction as an SVG length, within 0 and 100 %.
func percent(fraction float64) string {
	if !(fraction > 0) { // NaN too
		return "0%"
	}
	return strconv.FormatFloat(min(fraction, 1)*100, 'f', 2, 64) + "%"
}

// share is part of whole; nothing of nothing is 0.
func share(part, whole int64) float64 {
	if whole <= 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

func sharePercent(part, whole int64) string {
	p := share(part, whole) * 100
	if p > 0 && p < 10 {
		return strconv.FormatFloat(p, 'f', 1, 64) + " %"
	}
	return strconv.FormatFloat(p, 'f', 0, 64) + " %"
}

// text is a value as it can be shown: valid UTF-8, at most limit bytes.
func text(s string, limit int) string {
	if len(s) > limit {
		for limit > 0 && !utf8.RuneStart(s[limit]) {
			limit--
		}
		s = s[:limit] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

const colors = 12 // the .c0 to .c11 of the style sheet

// color is the same for a service on every page.
func color(service string) int {
	h := fnv.New32a()
	h.Write([]byte(service))
	return int(h.Sum32() % colors)
}
