package terraform_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The script that a machine runs before its worker starts, with programs in place of iptables, curl and docker that write down how they
// were called, and answer as Google does: JSON on several lines.
func TestMachine(t *testing.T) {
	const file = "policies:\n- {name: errors, type: status_code, status_code: {status_codes: [ERROR]}}\n# 100 % \"quoted\"\n"
	answer := fmt.Sprintf("{\n  \"name\": \"projects/1/secrets/s/versions/3\",\n  \"payload\": {\n    \"data\": \"%s\",\n    \"dataCrc32c\": \"123\"\n  }\n}\n",
		base64.StdEncoding.EncodeToString([]byte(file)))
	for _, tt := range []struct {
		name, answer string
		ok           bool
	}{
		{"a file", answer, true},
		{"no file", "{\n  \"error\": {\"code\": 403}\n}\n", false}, // never start with an empty file, which would mean the defaults
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			run, calls := filepath.Join(dir, "run"), filepath.Join(dir, "calls")
			script := strings.NewReplacer(
				"${admin_port}", "8081", "${image}", "reg.example.com/p/tailweir:v1", "${registry}", "reg.example.com",
				"${secret_version}", "projects/1/secrets/s/versions/3", "/run/tailweir", run,
			).Replace(read(t, module+"/worker.sh.tftpl"))
			if strings.Contains(script, "${") {
				t.Fatalf("a placeholder that this test does not know:\n%s", script)
			}
			write(t, filepath.Join(dir, "worker.sh"), script)
			write(t, filepath.Join(dir, "secret"), tt.answer)
			for name, body := range map[string]string{
				"iptables":              `case "$*" in *-C*) exit 1;; esac`,
				"docker":                ``,
				"docker-credential-gcr": ``,
				"curl": `case "$*" in
				  *service-accounts/default/token*) [ "$5" = "Metadata-Flavor: Google" ] && printf '{"access_token":"ya29.c.x-_","expires_in":3599,"token_type":"Bearer"}';;
				  *secretmanager*) [ "$(cat)" = 'header = "Authorization: Bearer ya29.c.x-_"' ] && cat "$(dirname "$0")/../secret";;
				  *) exit 6;; esac`,
			} {
				path := filepath.Join(dir, "bin", name)
				if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
					t.Fatal(err)
				}
				write(t, path, "#!/bin/bash\necho \"$(basename \"$0\") $*\" >>"+calls+"\n"+body+"\n")
				if err := os.Chmod(path, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.Command("/bin/bash", filepath.Join(dir, "worker.sh"))
			cmd.Env = []string{"PATH=" + filepath.Join(dir, "bin") + ":/usr/bin:/bin"}
			out, err := cmd.CombinedOutput()
			if !tt.ok {
				if _, missing := os.Stat(filepath.Join(run, "worker.yaml")); err == nil || missing == nil {
					t.Errorf("error %v, worker.yaml is there: %t; want an error and no file\n%s", err, missing == nil, out)
				}
				return
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if got := read(t, filepath.Join(run, "worker.yaml")); got != file {
				t.Errorf("the worker's file is %q, want %q", got, file)
			}
			if info, err := os.Stat(filepath.Join(run, "worker.yaml")); err != nil || info.Mode().Perm() != 0o444 {
				t.Errorf("mode %v, %v: the container's user could not read it", info.Mode(), err)
			}
			if got := read(t, filepath.Join(run, "machine.env")); !regexp.MustCompile(`^GOMEMLIMIT=[1-9][0-9]{2,}MiB\n$`).MatchString(got) {
				t.Errorf("machine.env is %q", got)
			}
			called := read(t, calls)
			if strings.Contains(called, "ya29") {
				t.Errorf("the token is an argument, which everybody on the machine sees:\n%s", called)
			}
			for _, want := range []string{
				"iptables -w -A INPUT -p tcp --dport 8081 -s 35.191.0.0/16 -j ACCEPT\n",
				"iptables -w -A INPUT -p tcp --dport 8081 -s 130.211.0.0/22 -j ACCEPT\n",
				"--config - https://secretmanager.googleapis.com/v1/projects/1/secrets/s/versions/3:access\n",
				"docker-credential-gcr configure-docker --registries=reg.example.com\n",
				"docker pull reg.example.com/p/tailweir:v1\n",
			} {
				if !strings.Contains(called, want) {
					t.Errorf("never called: %s\ncalled:\n%s", want, called)
				}
			}
		})
	}
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
