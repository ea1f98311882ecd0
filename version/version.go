// Package version says which build this is: in "tailweir version", in the first line of each process's log, and to the backends.
package version

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync"
)

// version is set by a release: -ldflags "-X tailweir/version.version=1.2.3".
var version string

// commitLength is enough of a commit's name to find it.
const commitLength = 12

// String returns the version of a release, or else devel with the commit that Go found at the build, as devel-0123456789ab, and
// with -modified where files differed from it; devel alone where there was no repository, as in tests and in containers.
func String() string { return current() }

// current reads it once: it is asked for with each request of an exporter.
var current = sync.OnceValue(func() string {
	info, _ := debug.ReadBuildInfo()
	return of(version, info)
})

// UserAgent is how the exporters call themselves.
func UserAgent() string { return "tailweir/" + String() }

// Line returns the version with what it was built from and for.
func Line() string {
	info, _ := debug.ReadBuildInfo()
	line := "tailweir " + String()
	if commit, modified := source(info); commit != "" {
		line += " commit " + commit
		if modified {
			line += " (modified)"
		}
	}
	return fmt.Sprintf("%s %s %s/%s", line, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

func of(release string, info *debug.BuildInfo) string {
	if release = token(release); release != "" {
		return release
	}
	commit, modified := source(info)
	if commit == "" {
		return "devel"
	}
	name := "devel-" + commit[:min(len(commit), commitLength)]
	if modified {
		name += "-modified"
	}
	return name
}

func source(info *debug.BuildInfo) (commit string, modified bool) {
	if info == nil {
		return "", false
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value
		case "vcs.modified":
			modified = s.Value == "true"
		}
	}
	return commit, modified
}

// token leaves what a User-Agent may have in a version: a name with a blank or a slash in it, as branches have, would be read as
// several products.
func token(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("+-._~", r):
			return r
		}
		return '-'
	}, strings.TrimSpace(s))
}
