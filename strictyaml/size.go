package strictyaml

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Size is a number of bytes, written as a plain number or with a unit: B, KiB, MiB, GiB, TiB (1024) or kB, KB, MB, GB, TB (1000).
type Size int64

var sizeUnits = []struct {
	suffix string
	bytes  float64
}{
	// Longer suffixes first: "KiB" and "kB" end in "B" too.
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// ParseSize reads "64MiB", "1.5 GB" or "1024". The result is not negative.
func ParseSize(s string) (Size, error) {
	number, unit := strings.TrimSpace(s), 1.0
	for _, u := range sizeUnits {
		if rest, ok := strings.CutSuffix(number, u.suffix); ok {
			number, unit = strings.TrimSpace(rest), u.bytes
			break
		}
	}
	f, err := strconv.ParseFloat(number, 64)
	if err != nil || math.IsNaN(f) || f < 0 || f*unit >= math.MaxInt64 {
		return 0, fmt.Errorf("parse size %q: want a number and a unit, such as 64MiB", s)
	}
	return Size(f * unit), nil
}

// String is the size in the largest binary unit that divides it, such as 64MiB.
func (s Size) String() string {
	for i, unit := range []string{"TiB", "GiB", "MiB", "KiB"} {
		if b := Size(1) << (40 - 10*i); s >= b && s%b == 0 {
			return fmt.Sprintf("%d%s", s/b, unit)
		}
	}
	return fmt.Sprintf("%dB", int64(s))
}
