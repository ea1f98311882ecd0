package tracestate

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/trace"
)

func TestRandomness(t *testing.T) {
	for _, tt := range []struct {
		state string
		want  uint64
		ok    bool
	}{
		{"ot=rv:00000000000001", 1, true},
		{"congo=x, ot=th:8;rv:ffffffffffffff ,b=c", 1<<56 - 1, true},
		{"ot=rv:0000000000000A", 0, false},
		{"ot=rv:0000000000001", 0, false},
		{"ot=rv:000000000000001", 0, false},
		{"ot=th:8", 0, false},
		{"xot=rv:00000000000001", 0, false},
		{"", 0, false},
	} {
		if rv, ok := Randomness([]byte(tt.state)); rv != tt.want || ok != tt.ok {
			t.Errorf("Randomness(%q) = %x, %t, want %x, %t", tt.state, rv, ok, tt.want, tt.ok)
		}
	}
}

func TestThreshold(t *testing.T) {
	for _, tt := range []struct {
		state string
		want  uint64
		ok    bool
	}{
		{"ot=th:0", 0, true},
		{"ot=th:8", 1 << 55, true},
		{"ot=th:00000000000001", 1, true},
		{"a=b,ot=rv:00000000000001;th:e666", 0xe666 << 40, true},
		{"ot=th:", 0, false},
		{"ot=th:E", 0, false},
		{"ot=th:000000000000001", 0, false},
		{"ot=th:g;th:8", 0, false},
		{"a=th:8", 0, false},
		{"", 0, false},
	} {
		if th, ok := Threshold([]byte(tt.state)); th != tt.want || ok != tt.ok {
			t.Errorf("Threshold(%q) = %x, %t, want %x, %t", tt.state, th, ok, tt.want, tt.ok)
		}
	}
}

const half, most = 1 << 55, Unknown - 1

var (
	long  = "long=" + strings.Repeat("l", 200)
	other = "z=" + strings.Repeat("z", 100)
	many  = "a=b" + strings.Repeat(",a=b", 31)
)

func TestAppend(t *testing.T) {
	for _, tt := range []struct {
		name, state string
		t           uint64
		want        string
	}{
		{"certain", "", 0, ""},
		{"certain, among others", "a=b , ot=rv:00000000000001,,", 0, "a=b , ot=rv:00000000000001,,"},
		{"certain, malformed", "ot=th:8X", 0, "ot=th:8X"},
		{"half", "", half, "ot=th:8"},
		{"all digits", "", most, "ot=th:ffffffffffffff"},
		{"the last digit", "", 1, "ot=th:00000000000001"},
		{"no trailing zeros", "", 0xe666 << 40, "ot=th:e666"},
		{"unknown", "", Unknown, ""},
		{"in front of others", "a=b,c=d", half, "ot=th:8,a=b,c=d"},
		{"ot moves to the front", "a=b , ot=rv:00000000000001,\tc=d", half, "ot=th:8;rv:00000000000001,a=b,c=d"},
		{"rises", "ot=x:y;th:4;rv:f000000000000f", half, "ot=th:8;x:y;rv:f000000000000f"},
		{"never falls", "a=b,ot=th:c", half, "a=b,ot=th:c"},
		{"the same, in other digits", "a=b,ot=th:80", half, "a=b,ot=th:80"},
		{"certain keeps what is there", "ot=th:8", 0, "ot=th:8"},
		{"a malformed threshold", "ot=th:8X;rv:1", half, "ot=th:8;rv:1"},
		{"two thresholds", "ot=th:4;th:2", half, "ot=th:8"},
		{"erased", "a=b,ot=rv:f0000000000001;th:8,c=d", Unknown, "ot=rv:f0000000000001,a=b,c=d"},
		{"erased though malformed", "ot=x:y;th:", Unknown, "ot=x:y"},
		{"nothing to erase", "a=b, ot=rv:00000000000001", Unknown, "a=b, ot=rv:00000000000001"},
		{"nothing remains of ot", "a=b,ot=th:8,c=d", Unknown, "a=b,c=d"},
		{"nothing remains", "ot=th:8", Unknown, ""},
		{"nothing but blanks remains", "ot= ;th:8", Unknown, ""},
		{"above unknown", "ot=th:8", 1 << 63, ""},
		{"empty members", ",a=b,,c=d,", half, "ot=th:8,a=b,c=d"},
		{"no value", "a=b,c", half, "a=b,c"},
		{"an empty value", "a=", half, "a="},
		{"a key in capitals", "A=b", half, "A=b"},
		{"a control character", "a=b\x01", half, "a=b\x01"},
		{"two equals signs", "a=b=c", half, "a=b=c"},
		{"two ot", "ot=th:4,ot=th:2", half, "ot=th:4,ot=th:2"},
		{"two of another", "a=b,a=c", half, "ot=th:8,a=b,a=c"},
		{"a tenant", "1a@b=c", half, "ot=th:8,1a@b=c"},
		{"32 members", many, half, "ot=th:8," + many[:len(many)-4]},
		{"32 with ot", many[:len(many)-4] + ",ot=x:y", half, "ot=th:8;x:y," + many[:len(many)-4]},
		{"the last of the long go first", strings.Join([]string{long, "m" + long, other, "n=o"}, ","), half, strings.Join([]string{"ot=th:8", long, other, "n=o"}, ",")},
		{"then the last", strings.Join([]string{other, "a" + other, "b" + other, long, "c" + other, "d" + other, "e=f"}, ","), half,
			strings.Join([]string{"ot=th:8", other, "a" + other, "b" + other, "c" + other}, ",")},
		{"512 characters", strings.Repeat("y="+strings.Repeat("y", 98)+",", 5)[:504], half, "ot=th:8," + strings.Repeat("y="+strings.Repeat("y", 98)+",", 5)[:504]},
		{"513 characters", strings.Repeat("y="+strings.Repeat("y", 98)+",", 5)[:504] + "y", half, "ot=th:8," + strings.Repeat("y="+strings.Repeat("y", 98)+",", 5)[:403]},
		{"ot is full", "ot=x:" + strings.Repeat("v", 250), half, "ot=x:" + strings.Repeat("v", 250)},
		{"ot has just room", "ot=x:" + strings.Repeat("v", 249), half, "ot=th:8;x:" + strings.Repeat("v", 249)},
		{"ot is full and has a smaller one", "ot=th:4;x:" + strings.Repeat("v", 249), 0xe666 << 40, "ot=x:" + strings.Repeat("v", 249)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, string(Append(nil, []byte(tt.state), tt.t, most))); diff != "" {
				t.Errorf("Append(%q, %x): want -, got +\n%s", tt.state, tt.t, diff)
			}
		})
	}
}

// A threshold that excludes its own span goes, and none comes in its place.
func TestAppendToInconsistent(t *testing.T) {
	const below, unchanged = half - 1, "unchanged"
	for _, tt := range []struct {
		name, state string
		t, random   uint64
		want        string
	}{
		{"certain", "a=b,ot=x:y;th:8", 0, below, "ot=x:y,a=b"},
		{"certain, just consistent", "a=b,ot=x:y;th:8", 0, half, unchanged},
		{"smaller", "ot=th:8", 1, below, ""},
		{"the same", "ot=th:8", half, below, ""},
		{"greater", "ot=th:8", most, below, ""},
		{"unknown", "ot=th:8", Unknown, below, ""},
		{"by its rv", "ot=th:8;rv:7fffffffffffff", 0, most, "ot=rv:7fffffffffffff"},
		{"not by its rv", "ot=th:8;rv:80000000000000", 0, 0, unchanged},
		{"an rv that is none", "ot=th:8;rv:8", 0, below, "ot=rv:8"},
		{"an rv of another", "ot=th:8,a=rv:80000000000000", 0, below, "a=rv:80000000000000"},
		{"no threshold", "ot=rv:00000000000001", 0, below, unchanged},
		{"a malformed threshold", "ot=th:8X", 0, below, unchanged},
		{"a threshold of 0", "ot=th:0", 0, 0, unchanged},
		{"a malformed state", "a,ot=th:8", 0, below, unchanged},
	} {
		if tt.want == unchanged {
			tt.want = tt.state
		}
		if diff := cmp.Diff(tt.want, string(Append(nil, []byte(tt.state), tt.t, tt.random))); diff != "" {
			t.Errorf("%s: Append(%q, %x, %x): want -, got +\n%s", tt.name, tt.state, tt.t, tt.random, diff)
		}
	}
}

func TestAppendAllocatesNothing(t *testing.T) {
	dst := make([]byte, 0, 1000)
	for _, state := range []string{"", "a=b, ot=rv:f0000000000001;th:4,c=d", many + "," + long + "," + long + "," + long} {
		old := []byte(state)
		if n := testing.AllocsPerRun(100, func() { Append(dst, old, half, most) }); n != 0 {
			t.Errorf("Append to %q allocates %v times", state, n)
		}
	}
}

func FuzzAppend(f *testing.F) {
	for _, state := range []string{"", "a=b,ot=rv:00000000000001;th:4;x:y,c=d", "ot=rv:f0000000000001;th:4;x:y", "ot=th:c", many, long + "," + other + "," + long, "ot= ;th:8 ;x: ", "a=b,,c", "ot=x:" + strings.Repeat("v", 249)} {
		for _, th := range []uint64{0, half, Unknown} {
			f.Add([]byte(state), th, uint64(half))
			f.Add([]byte(state), th, uint64(0))
		}
	}
	f.Fuzz(check)
}

func check(t *testing.T, state []byte, th, random uint64) {
	th, random = min(th, Unknown), random%Unknown
	before := bytes.Clone(state)
	whole := Append([]byte("dst"), state, th, random)
	out, kept := bytes.CutPrefix(whole, []byte("dst"))
	if !kept || !bytes.Equal(before, state) {
		t.Fatal("what was there was changed")
	}
	if len(out) > len(state)+MaxGrowth {
		t.Fatalf("%q grew by %d to %q", state, len(out)-len(state), out)
	}
	rv, ok := Randomness(state)
	if ok {
		random = rv
	}
	old, had := Threshold(state)
	excluded := had && old > random
	if th == 0 && !excluded && !bytes.Equal(out, state) {
		t.Fatalf("%q was kept for certain and became %q", state, out)
	}
	if th <= random && !excluded { // otherwise what is written now may be erased then, or the other way round
		if again := Append(nil, out, th, random); !bytes.Equal(again, out) {
			t.Fatalf("%q became %q and then %q", state, out, again)
		}
	}
	was, err := trace.ParseTraceState(string(state))
	if err != nil {
		return
	}
	is, err := trace.ParseTraceState(string(out))
	if err != nil {
		t.Fatalf("%q became %q: %v", state, out, err)
	}
	checkThreshold(t, state, out, th, excluded)
	checkMembers(t, was, is, !bytes.Equal(state, out))
}

// checkThreshold checks th and rv of a state that parses.
func checkThreshold(t *testing.T, state, out []byte, th uint64, excluded bool) {
	old, had := Threshold(state)
	got, has := Threshold(out)
	switch full := len(find(state))+len(";th:")+digits > maxOT; {
	case th == Unknown || excluded:
		if has {
			t.Fatalf("%q became %q: a threshold of unknown probability", state, out)
		}
	case th == 0: // nothing changed
	case !has && !full:
		t.Fatalf("%q became %q: no threshold", state, out)
	case has && got != th && (!had || got != old || old < th):
		t.Fatalf("%q became %q: threshold %x, had %x, %t", state, out, got, old, had)
	}
	rv, had := Randomness(state)
	if got, has := Randomness(out); got != rv || has != had {
		t.Fatalf("%q became %q: rv changed", state, out)
	}
}

// checkMembers checks that what remains of was is there, in its order, and what is gone had to go.
func checkMembers(t *testing.T, was, is trace.TraceState, changed bool) {
	var want, gone, got []string
	was.Walk(func(key, value string) bool {
		switch {
		case key == "ot":
		case is.Get(key) == "":
			gone = append(gone, key+"="+value)
		default:
			want = append(want, key+"="+value)
		}
		return true
	})
	first := true
	is.Walk(func(key, value string) bool {
		if key != "ot" {
			got = append(got, key+"="+value)
		} else if changed && !first {
			t.Fatalf("ot changed and is not in front: %q", is)
		}
		first = false
		return true
	})
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("members of %q: want -, got +\n%s", was, diff)
	}
	if diff := cmp.Diff(subKeys(was.Get("ot")), subKeys(is.Get("ot"))); diff != "" {
		t.Fatalf("sub-keys of %q: want -, got +\n%s", was, diff)
	}
	size := len(is.String())
	if changed && size > maxState {
		t.Fatalf("%q became %q, %d characters", was, is, size)
	}
	for _, m := range gone {
		size += 1 + len(m)
	}
	if len(gone) > 0 && size <= maxState && is.Len()+len(gone) <= maxCount {
		t.Fatalf("%q were dropped from %q where all fit", gone, was)
	}
}

func subKeys(ot string) (all []string) {
	for _, e := range strings.Split(ot, ";") {
		if e = strings.TrimRight(e, " \t"); !strings.HasPrefix(e, "th:") && strings.Trim(e, " \t") != "" {
			all = append(all, e)
		}
	}
	return all
}

func BenchmarkAppend(b *testing.B) {
	dst := make([]byte, 0, 1000)
	for _, state := range []string{"", "ot=rv:0123456789abcd", "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7,ot=th:4;rv:0123456789abcd"} {
		b.Run("of "+state, func(b *testing.B) {
			old := []byte(state)
			b.ReportAllocs()
			for b.Loop() {
				Append(dst, old, 0xe666<<40, most)
			}
		})
	}
}
