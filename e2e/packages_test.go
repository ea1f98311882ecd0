package e2e_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// fetched is a directory outside of the tree with what the packages of a folder's manifests need, made once for each state of its
// files and kept for later runs: the user's cache, tailweir-e2e, a name by their hash. make fills a fresh copy of the folder in
// place, since a Python environment knows its own path; a file "whole" is written last, and without it all is made anew.
func fetched(t *testing.T, folder string, make func(dir string)) string {
	t.Helper()
	sum := sha256.New()
	if err := hashDir(sum, folder); err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(cache, "tailweir-e2e", fmt.Sprintf("%s-%x", filepath.Base(folder), sum.Sum(nil)[:8]))
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	defer locked(t, dir+".lock")()
	whole := filepath.Join(dir, "whole")
	if _, err := os.Stat(whole); err == nil {
		return dir
	}
	if err := errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(folder))); err != nil {
		t.Fatal(err)
	}
	make(dir)
	if err := os.WriteFile(whole, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// locked waits for tests, of this process and of others, that make the same. The kernel unlocks what a killed process held.
func locked(t *testing.T, name string) (unlock func()) {
	t.Helper()
	file, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return func() { file.Close() }
}

func hashDir(sum interface{ Write([]byte) (int, error) }, folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	for _, e := range entries {
		b, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(sum, "%s %d\n", e.Name(), len(b))
		sum.Write(b)
	}
	return nil
}

const fetchTime = 5 * time.Minute

// nodePackages is a copy of sdk/node with its packages.
func nodePackages(t *testing.T) string {
	t.Helper()
	need(t, "Node.js 20 from https://nodejs.org", "node")
	npm := need(t, "it comes with Node.js", "npm")
	return fetched(t, "sdk/node", func(dir string) {
		start(t, nil, npm, "ci", "--prefix", dir).finish(fetchTime)
	})
}

// pythonPackages is a copy of sdk/python with the virtual environment venv.
func pythonPackages(t *testing.T) string {
	t.Helper()
	python := need(t, "apt-get install python3-venv", "python3")
	return fetched(t, "sdk/python", func(dir string) {
		start(t, nil, python, "-m", "venv", filepath.Join(dir, "venv")).finish(fetchTime)
		startIn(t, dir, "venv/bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", "requirements.txt").finish(fetchTime)
	})
}

// kotlinPackages is a copy of sdk/kotlin with what the service runs with in lib, and the service itself in lib/shop.jar.
func kotlinPackages(t *testing.T) string {
	t.Helper()
	java := need(t, "a Java runtime of version 17, such as Debian's openjdk-17-jre-headless", "java")
	mvn := need(t, "apt-get install maven", "mvn")
	return fetched(t, "sdk/kotlin", func(dir string) {
		for scope, folder := range map[string]string{"runtime": "lib", "provided": "compiler"} {
			startIn(t, dir, mvn, "-q", "-B", "dependency:copy-dependencies", "-DincludeScope="+scope, "-DoutputDirectory="+folder, "-Dmdep.stripVersion=true").finish(fetchTime)
		}
		startIn(t, dir, "sha256sum", "--quiet", "-c", "SHA256SUMS").finish(fetchTime)
		jars, err := filepath.Glob(filepath.Join(dir, "lib", "*.jar"))
		if err != nil {
			t.Fatal(err)
		}
		// The compiler as a library: it needs a Java runtime alone, no JDK.
		startIn(t, dir, java, "-XX:TieredStopAtLevel=1", "-cp", "compiler/*:lib/kotlin-stdlib.jar:lib/annotations.jar",
			"org.jetbrains.kotlin.cli.jvm.K2JVMCompiler", "-no-reflect", "-no-stdlib", "-jvm-target", "17",
			"-cp", strings.Join(jars, ":"), "-d", "lib/shop.jar", "Shop.kt").finish(fetchTime)
	})
}
