package version

import (
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
)

func TestOf(t *testing.T) {
	build := func(settings ...debug.BuildSetting) *debug.BuildInfo { return &debug.BuildInfo{Settings: settings} }
	commit := debug.BuildSetting{Key: "vcs.revision", Value: "0123456789abcdef0123456789abcdef01234567"}
	for _, tt := range []struct {
		release string
		info    *debug.BuildInfo
		want    string
	}{
		{"1.2.3", build(commit), "1.2.3"},
		{"v1.2.3-rc.1+linux", nil, "v1.2.3-rc.1+linux"},
		{" feature/x y\n", nil, "feature-x-y"},
		{"", nil, "devel"},
		{"", build(), "devel"},
		{"", build(commit, debug.BuildSetting{Key: "vcs.modified", Value: "false"}), "devel-0123456789ab"},
		{"", build(commit, debug.BuildSetting{Key: "vcs.modified", Value: "true"}), "devel-0123456789ab-modified"},
		{"", build(debug.BuildSetting{Key: "vcs.revision", Value: "7"}), "devel-7"},
	} {
		if got := of(tt.release, tt.info); got != tt.want {
			t.Errorf("of(%q, %v) = %q, want %q", tt.release, tt.info, got, tt.want)
		}
	}
}

func TestLine(t *testing.T) {
	if line := Line(); !strings.HasPrefix(line, "tailweir "+String()+" ") || !strings.HasSuffix(line, runtime.Version()+" "+runtime.GOOS+"/"+runtime.GOARCH) {
		t.Errorf("Line() = %q", line)
	}
	if got, want := UserAgent(), "tailweir/"+String(); got != want {
		t.Errorf("UserAgent() = %q, want %q", got, want)
	}
}
