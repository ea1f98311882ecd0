package e2e_test

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"debug/elf"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	imageVersion = "1.2.3-test"
	// The promise, uncompressed as it lies on a machine and compressed as a registry has it. It is 34 MB and 12 MB today.
	mostImage, mostPulled = 40_000_000, 15_000_000
)

// builtImage is the image of the Dockerfile, made once for all tests.
func builtImage(t *testing.T) image {
	t.Helper()
	made, err := buildImage()
	if err != nil {
		t.Fatal(err)
	}
	return made
}

var buildImage = sync.OnceValues(func() (image, error) {
	if made := strings.Split(os.Getenv("TAILWEIR_E2E_IMAGE"), "\n"); len(made) > 2 { // of the program that runs this one
		return image{root: made[0], user: made[1], entrypoint: made[2:]}, nil
	}
	dir := filepath.Join(binaries, "image")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return image{}, err
	}
	return followDockerfile("..", dir, imageArgs())
})

func imageArgs() map[string]string {
	return map[string]string{"TARGETOS": "linux", "TARGETARCH": runtime.GOARCH, "VERSION": imageVersion}
}

// TestImage holds what the Dockerfile makes to what the docs say of it.
func TestImage(t *testing.T) {
	t.Parallel()
	made := builtImage(t)
	if !regexp.MustCompile(`^[1-9]\d{3,}:[1-9]\d{3,}$`).MatchString(made.user) {
		t.Errorf("USER %s: want numbers of a user and a group that no machine has, so that a cluster can see that it is not root", made.user)
	}
	if len(made.entrypoint) != 1 {
		t.Fatalf("ENTRYPOINT %q: want the program alone, commands are arguments", made.entrypoint)
	}
	checkGoVersion(t, made.bases)
	if made.bases[1] != "scratch" {
		t.Errorf("the last stage is from %s, and the sizes and runs here are of one from scratch", made.bases[1])
	}
	program := filepath.Join(made.root, made.entrypoint[0])
	checkStatic(t, program)
	files, plain, packed := imageSize(t, made.root)
	t.Logf("%d files, %.1f MB, compressed %.1f MB", len(files), float64(plain)/1e6, float64(packed)/1e6)
	if plain > mostImage || packed > mostPulled {
		t.Errorf("the image has %d bytes, compressed %d, want %d and %d at most", plain, packed, mostImage, mostPulled)
	}
	if want := []string{"etc/ssl/certs/ca-certificates.crt", "tailweir"}; !slices.Equal(files, want) {
		t.Errorf("the image has %q, want %q", files, want)
	}
	// Nothing but sources goes into a build.
	for _, file := range made.context {
		if filepath.Ext(file) != ".go" && file != "go.mod" && file != "go.sum" && !strings.HasPrefix(file, "console/assets/") {
			t.Errorf("the build is given %s", file)
		}
	}
	ignored, err := dockerignore("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{".git/config", "terraform.tfstate", "terraform/examples/cloud-run/terraform.tfvars", "key.json", "cmd/key.json", "e2e/go.mod"} {
		if !ignored(file) {
			t.Errorf("the build would be given %s", file)
		}
	}
}

// TestImageIsReproducible builds it again, elsewhere: the same sources are the same program.
func TestImageIsReproducible(t *testing.T) {
	t.Parallel()
	first := builtImage(t)
	second, err := followDockerfile("..", t.TempDir(), imageArgs())
	if err != nil {
		t.Fatal(err)
	}
	if a, b := sumOf(t, filepath.Join(first.root, "tailweir")), sumOf(t, filepath.Join(second.root, "tailweir")); a != b {
		t.Errorf("two builds are %s and %s", a, b)
	}
}

// TestKoBuildsTheSame compares what ko would build with what the Dockerfile does: neither ko nor its base image is here.
func TestKoBuildsTheSame(t *testing.T) {
	ko, err := os.ReadFile("../.ko.yaml")
	if err != nil {
		t.Fatal(err)
	}
	docker, err := os.ReadFile("../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	main := regexp.MustCompile(`(?m)^  main: (\S+)$`).FindStringSubmatch(string(ko))
	if main == nil || !strings.Contains(string(docker), "-o tailweir "+main[1]+"\n") {
		t.Fatalf("main is %q, which the Dockerfile does not build", main)
	}
	for _, pair := range [][2]string{{"env: [CGO_ENABLED=0]", "RUN CGO_ENABLED=0 "}, {"flags: [-trimpath]", " -trimpath "}, {"ldflags: [-s, -w]", `"-s -w `}} {
		if !strings.Contains(string(ko), pair[0]) || !strings.Contains(string(docker), pair[1]) {
			t.Errorf(".ko.yaml or the Dockerfile lacks one of %q", pair)
		}
	}
	list := exec.Command("go", "list", "-f", "{{.Name}}", "./cmd/...")
	list.Dir = ".."
	if out, err := list.CombinedOutput(); err != nil || strings.Trim(strings.ReplaceAll(string(out), "main", ""), "\n") != "" {
		t.Errorf("not all of cmd are main packages: %v\n%s", err, out)
	}
}

// checkGoVersion compares the build stage's Go with the module's.
func checkGoVersion(t *testing.T, bases []string) {
	t.Helper()
	mod, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	want := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindStringSubmatch(string(mod))[1]
	if len(bases) != 2 || bases[0] != "golang:"+want {
		t.Errorf("stages from %q, want two, the first from golang:%s", bases, want)
	}
}

// checkStatic wants a program that needs nothing of the image: no interpreter, no library, and no symbols to carry along.
func checkStatic(t *testing.T, program string) {
	t.Helper()
	f, err := elf.Open(program)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("the program is linked dynamically: it has %v", p.Type)
		}
	}
	if f.Section(".symtab") != nil || f.Section(".debug_info") != nil || f.Section(".zdebug_info") != nil {
		t.Error("the program is not stripped")
	}
}

// imageSize lists the files and measures them as they are and as a layer: a tar, compressed by gzip.
func imageSize(t *testing.T, root string) (files []string, plain, packed int64) {
	t.Helper()
	var layer counter
	z := gzip.NewWriter(&layer)
	w := tar.NewWriter(z)
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, file)
		if err != nil {
			return err
		}
		files, plain = append(files, name), plain+int64(len(b))
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o755, Size: int64(len(b))}); err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	})
	if err == nil {
		err = w.Close()
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return files, plain, int64(layer)
}

type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

func sumOf(t *testing.T, file string) string {
	t.Helper()
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", h.Sum(nil))
}
